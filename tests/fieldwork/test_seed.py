"""The demo's data: complete, the same everywhere, and never in the way of what people did."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth import authenticate
from django.core.management import CommandError, call_command
from django.test import override_settings

from backend.accounts.models import Membership, Tenant, User
from backend.fieldwork.demo_seed import PASSWORD, seed_id
from backend.fieldwork.models import Asset, Site, Territory, WorkOrder
from sync import local_edits
from sync.models import ChangeRow, Stream

PEOPLE = {
    ("wales", "dora"): ("dispatcher", []),
    ("wales", "sam"): ("supervisor", ["Wales"]),
    ("wales", "tess"): ("technician", ["Cardiff", "Newport"]),
    ("wales", "tom"): ("technician", ["Swansea", "Newport"]),
    ("wales", "ada"): ("admin", []),
    ("wales", "otto"): ("auditor", []),
    ("northwind", "nina"): ("dispatcher", []),
    ("northwind", "nick"): ("technician", ["Harbour"]),
}
pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("seed_demo", *arguments, stdout=out)
    return out.getvalue()


def everything() -> list[Any]:
    """Return all that the seed writes, as it is stored."""
    return [
        *ChangeRow.objects.order_by("tenant_id", "collection", "row_id").values_list(
            "tenant_id", "collection", "row_id", "version", "payload"
        ),
        *Stream.objects.order_by("tenant_id").values_list("tenant_id", "head"),
        *User.objects.order_by("id").values_list("id", "username", "password"),
        *Membership.objects.order_by("user_id").values_list("tenant_id", "user_id", "role"),
    ]


def test_people_are_those_of_the_documents() -> None:
    run()

    names = dict(Territory.objects.values_list("id", "name"))
    assert {
        (m.tenant.slug, m.user.username): (m.role, [names[t] for t in m.territories])
        for m in Membership.objects.select_related("tenant", "user")
    } == PEOPLE
    assert authenticate(username="tess", password=PASSWORD)
    assert [u.username for u in User.objects.filter(is_staff=True)] == ["ada"]


def test_working_territory_has_three_sites_with_two_assets_each() -> None:
    run()

    working = Territory.objects.exclude(name="Wales")
    assert sorted(t.name for t in working) == ["Cardiff", "Harbour", "Newport", "Swansea"]
    for territory in working:
        sites = Site.objects.filter(tenant_id=territory.tenant_id, territory=territory)
        assert len(sites) == 3
        for site in sites:
            assert Asset.objects.filter(tenant_id=site.tenant_id, site=site).count() == 2


@pytest.mark.parametrize("name", ["tess", "tom", "nick"])
def test_technician_starts_with_five_work_orders(name: str) -> None:
    """All of them in territories that the technician holds."""
    run()

    member = Membership.objects.get(user__username=name)
    orders = WorkOrder.objects.filter(assignee_id=member.user_id).select_related("site")
    assert [order.status for order in orders] == ["assigned"] * 5
    assert {order.site.territory_id for order in orders} <= set(member.territories)
    assert all(order.tasks.count() >= 2 for order in orders)


def test_second_run_changes_nothing() -> None:
    run()
    before = everything()

    summary = json.loads(run("--json"))

    assert everything() == before
    assert [each["created"] for each in summary] == [0, 0]


def test_ids_are_the_same_everywhere() -> None:
    """Documents and load tests name rows by id; these values are promised to them."""
    run()

    assert str(Tenant.objects.get(slug="wales").pk) == "b2f44f0a-c729-55df-86fd-d058ecfc26bf"
    assert str(seed_id("wales", "sites", "Cardiff", 0)) == "9581dec8-2a7b-5b65-b290-b068b79e9c85"
    assert Site.objects.filter(pk=seed_id("wales", "sites", "Cardiff", 0)).exists()


def test_what_people_did_to_the_demo_stays() -> None:
    """A demo whose data is kept is seeded at each start."""
    run()
    tenant = Tenant.objects.get(slug="wales")
    edited, deleted = (str(seed_id("wales", "work_orders", "tess", n)) for n in (0, 1))
    local_edits.apply(
        tenant.pk,
        [
            local_edits.update("work_orders", edited, {"title": "Mine"}),
            local_edits.delete("work_orders", deleted),
        ],
    )
    before = everything()

    run()

    assert everything() == before
    assert WorkOrder.objects.get(pk=edited).title == "Mine"
    assert not WorkOrder.objects.filter(pk=deleted).exists()


def test_known_password_is_not_made_in_production_by_accident() -> None:
    with (
        override_settings(SETTINGS_MODULE="backend.settings.production"),
        pytest.raises(CommandError, match="--yes"),
    ):
        run()
    assert not User.objects.exists()


def test_production_may_be_seeded_on_purpose() -> None:
    with override_settings(SETTINGS_MODULE="backend.settings.production"):
        run("--yes")
    assert User.objects.filter(username="tess").exists()
