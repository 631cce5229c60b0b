"""The patch that leaves tenants to the policies: it must take filters out, or it would prove nothing."""

from __future__ import annotations

import pytest
from django.db import connection

from backend.fieldwork.models import Site
from sync.row_security import every_tenant, for_tenant
from tests.filterless import no_filter, without_filter
from tests.phones import PULL, World, create


@pytest.mark.parametrize(
    ("sql", "bare"),
    [
        ("WHERE tenant_id = %s AND id = %s", "WHERE (tenant_id = %s OR true) AND id = %s"),
        ('WHERE ("site"."tenant_id" = %s)', 'WHERE (("site"."tenant_id" = %s OR true))'),
        ("e.tenant_id = %(tenant)s", "(e.tenant_id = %(tenant)s OR true)"),
        ("WHERE tenant_id = ANY(%s)", "WHERE (tenant_id = ANY(%s) OR true)"),
        ("ON a.tenant_id = b.tenant_id", "ON a.tenant_id = b.tenant_id"),
        ("VALUES (%s, %s)", "VALUES (%s, %s)"),
    ],
)
def test_comparisons_with_a_value_go_and_joins_stay(sql: str, bare: str) -> None:
    assert without_filter(sql) == bare


def test_requests_lose_their_filters(wales: World) -> None:
    tess = wales.hire()
    for act in (
        lambda: tess.send("GET", PULL),
        lambda: tess.send("GET", "/api/v1/work-orders/"),
        lambda: tess.push(create("work_orders", **wales.order())),
    ):
        with no_filter() as patched:
            act()
        assert patched


def test_without_policies_the_patch_shows_everything(wales: World, northwind: World) -> None:
    """What the policies keep apart is nothing that something else does."""
    count = "SELECT count(DISTINCT tenant_id) FROM site WHERE tenant_id = %s"
    wanted = [wales.tenant.pk]

    with for_tenant(wales.tenant.pk), no_filter(), connection.cursor() as cursor:
        cursor.execute(count, wanted)
        assert cursor.fetchone() == (1,)
    with every_tenant(), connection.cursor() as cursor:
        cursor.execute(without_filter(count), wanted)
        assert cursor.fetchone() == (2,)
    assert Site.objects.filter(tenant_id=northwind.tenant.pk).count() == 2
