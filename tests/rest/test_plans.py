"""What a list reads: a page's rows and little more, at any depth and beside any other tenant."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from django.db import connection

from backend.fieldwork.models import WorkOrder
from sync import local_edits
from tests.phones import Phone, World
from tests.rest.conftest import ORDERS
from tests.sync.plans import explain, statements_of

ROWS = 2_000
LIMIT = 20
SLACK = 3  # times the rows of a page and the one behind it: the tables that a line is made of
DEEP = 1_500


@pytest.fixture
def crowded(wales: World, northwind: World) -> World:
    """Two tenants with many rows; a technician of Cardiff sees a hundredth of them."""
    for world in (wales, northwind):
        rows = [
            world.order(
                site=world.site if number % 100 == 0 else world.other_site,
                priority=number % 5 + 1,
                due_at=f"2026-11-{number % 28 + 1:02}T08:00:00Z" if number % 3 else None,
                title=f"{world.canary} job {number}",
            )
            for number in range(ROWS)
        ]
        local_edits.apply(
            world.tenant.pk, [local_edits.create("work_orders", row) for row in rows]
        )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return wales


def rows_read(who: Phone, **query: object) -> float:
    """Return how many rows of work orders the page's statements read, whatever the plan."""
    url = f"{ORDERS}?{urlencode({'limit': LIMIT, **query})}"
    pages = [
        each for each in statements_of(lambda: who.send("GET", url)) if '"work_order"' in each.sql
    ]
    return sum(
        max(
            sum(scan.rows for scan in executed.scans if scan.table == "work_order")
            for executed in explain(page)
        )
        for page in pages
    )


def after(who: Phone, ordering: str, depth: int) -> str:
    """Return where the page behind `depth` rows begins."""
    found = ""
    for _ in range(depth // 100):
        query = {"limit": 100, "ordering": ordering} | ({"after": found} if found else {})
        found = who.send("GET", f"{ORDERS}?{urlencode(query)}").json()["next"]
    return found


@pytest.mark.parametrize("ordering", ["-id", "id", "priority", "-priority", "due_at", "-due_at"])
def test_page_reads_its_rows_at_any_depth(crowded: World, dora: Phone, ordering: str) -> None:
    """Of somebody who sees them all."""
    deep = after(dora, ordering, DEEP)

    assert rows_read(dora, ordering=ordering) <= SLACK * (LIMIT + 1)
    assert rows_read(dora, ordering=ordering, after=deep) <= SLACK * (LIMIT + 1)


def test_who_sees_few_rows_reads_few(crowded: World) -> None:
    alice = crowded.hire()

    assert rows_read(alice) <= ROWS // 100 * SLACK
    assert WorkOrder.objects.count() == 2 * ROWS


@pytest.mark.parametrize("words", ["job 777", "WO-000123"])
def test_search_reads_what_it_finds(crowded: World, dora: Phone, words: str) -> None:
    assert rows_read(dora, search=words) <= SLACK * LIMIT
