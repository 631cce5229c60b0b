"""Lists: exactly the rows that one sees, in pages that no edit moves, at a constant cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoAssertNumQueries

from backend.accounts.models import Role
from backend.fieldwork import access
from backend.fieldwork.models import WorkOrder
from sync import local_edits
from sync.ids import uuid7
from sync.types import Actor
from tests.phones import Phone, World
from tests.rest.conftest import ORDERS, make_inspection, make_order, problem

ADDRESSES = {
    "territories": "/api/v1/territories/",
    "sites": "/api/v1/sites/",
    "assets": "/api/v1/assets/",
    "work_orders": ORDERS,
    "inspections": "/api/v1/inspections/",
    "notes": "/api/v1/notes/",
    "parts_used": "/api/v1/parts-used/",
}
PAGES_MAX = 100
QUERIES = 4  # who asks and what they hold, the page's rows, their lines


def get(who: Phone, url: str, **query: Any) -> dict[str, Any]:
    answer = who.send("GET", f"{url}?{urlencode(query, doseq=True)}")
    assert answer.status_code == 200, answer.content
    found: dict[str, Any] = answer.json()
    return found


def pages(who: Phone, url: str = ORDERS, **query: Any) -> Iterator[list[dict[str, Any]]]:
    after: dict[str, Any] = {}
    for _ in range(PAGES_MAX):
        page = get(who, url, **query, **after)
        yield page["results"]
        if page["next"] is None:
            return
        after = {"after": page["next"]}
    raise AssertionError("the pages never end")


def ids(who: Phone, url: str = ORDERS, **query: Any) -> list[str]:
    return [row["id"] for page in pages(who, url, **query) for row in page]


@pytest.fixture
def busy(dora: Phone, wales: World, northwind: World) -> World:
    """A tenant with rows of every collection in both territories, and another with the same."""
    for who, world in ((dora, wales), (northwind.hire("dispatcher"), northwind)):
        for number in range(6):
            site = world.other_site if number % 3 == 0 else world.site
            order = make_order(who, world, site=site, priority=number % 4 + 1)
            who.send("POST", "/api/v1/notes/", {"work_order": order["id"], "text": world.canary})
            part = {"work_order": order["id"], "sku": "fuse", "quantity": "1.5", "unit": "pc"}
            who.send("POST", "/api/v1/parts-used/", part)
        make_inspection(who, world)
    return wales


@pytest.mark.parametrize("role", ["technician", "supervisor", "dispatcher", "admin", "auditor"])
@pytest.mark.parametrize("tenant_wide", [frozenset(), frozenset(Role.values)])
def test_list_shows_what_a_phone_would_hold(
    busy: World, role: str, tenant_wide: frozenset[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For every role and collection, whichever way the rows are looked up."""
    actor = access._actor

    def hinted(*args: Any) -> Actor:
        return replace(actor(*args), sees_most=role in tenant_wide)

    monkeypatch.setattr(access, "_actor", hinted)
    who = busy.hire(role)
    who.pull()

    for collection, url in ADDRESSES.items():
        held = {row_id for name, row_id in who.rows if name == collection}
        listed = ids(who, url, limit=2)
        assert sorted(listed) == sorted(held), collection
        assert held or collection in {"notes", "parts_used"}, collection


def test_row_that_leaves_is_not_listed(busy: World, dora: Phone) -> None:
    """Moved to another territory, or deleted."""
    alice = busy.hire()
    before = ids(alice)
    moved, deleted = (make_order(dora, busy)["id"] for _ in range(2))
    assert set(ids(alice)) == {*before, moved, deleted}

    site = {"site": busy.other_site}
    dora.send("PATCH", f"{ORDERS}{moved}/", site, **{"If-Match": "*"})
    dora.send("DELETE", f"{ORDERS}{deleted}/", **{"If-Match": "*"})

    assert ids(alice) == before


@pytest.mark.parametrize("ordering", ["id", "-id", "priority", "-priority", "due_at", "-due_at"])
def test_pages_hold_each_row_once_in_order(busy: World, dora: Phone, ordering: str) -> None:
    """Whatever the size of the pages; equal and missing values included."""
    for number, row_id in enumerate(ids(dora)[:3]):
        due = {"due_at": f"2026-11-2{number}T08:00:00Z"}
        dora.send("PATCH", f"{ORDERS}{row_id}/", due, **{"If-Match": "*"})
    rows = [row for page in pages(dora, ordering=ordering, limit=200) for row in page]
    name = ordering.removeprefix("-")

    keys = [(row[name] or "9999", row["id"]) for row in rows]

    assert keys == sorted(keys, reverse=ordering.startswith("-"))
    assert len(set(keys)) == WorkOrder.objects.filter(tenant_id=busy.tenant.pk).count()
    for limit in (1, 2, 5):
        assert ids(dora, ordering=ordering, limit=limit) == [row["id"] for row in rows], limit


def test_rows_that_come_and_go_move_no_page(busy: World, dora: Phone) -> None:
    before = ids(dora, ordering="id")
    walk = pages(dora, ordering="id", limit=2)
    seen = [row["id"] for row in next(walk)]

    dora.send("DELETE", f"{ORDERS}{before[0]}/", **{"If-Match": "*"})
    dora.send("PUT", f"{ORDERS}{'0' * 8}-0000-7000-8000-{'0' * 12}/", busy.order(),
              **{"If-None-Match": "*"})  # fmt: skip
    seen += [row["id"] for page in walk for row in page]

    assert seen == before


@pytest.mark.parametrize(
    "query",
    [
        {"colour": "red"},
        {"ordering": "description"},
        {"ordering": "--id"},
        {"limit": "0"},
        {"limit": "201"},
        {"limit": "1e2"},
        {"after": "nonsense"},
        {"after": "é"},
        {"after": "WyJwcmlvcml0eSIsMSwieCJd"},
        {"status": "nonsense"},
        {"site": "1"},
        {"assignee": "x,y"},
        {"due_before": "yesterday"},
        {"priority": "9"},
        {"search": "x" * 201},
    ],
)
def test_nonsense_is_refused_and_named(busy: World, dora: Phone, query: dict[str, str]) -> None:
    answer = dora.send("GET", f"{ORDERS}?{urlencode(query)}")

    assert answer.status_code == 400
    assert problem(answer)["code"] in {"parameter_invalid", "validation_failed"}
    assert [each["path"].partition(".")[0] for each in problem(answer)["errors"]] == list(query)


def test_cursor_of_another_ordering_is_refused(busy: World, dora: Phone) -> None:
    after = get(dora, ORDERS, ordering="priority", limit=1)["next"]

    answer = dora.send("GET", f"{ORDERS}?ordering=-priority&limit=1&after={after}")

    assert answer.status_code == 400


def test_filters_choose(busy: World, dora: Phone) -> None:
    """Alone and together; several values mean any of them."""
    rows = {row_id: get_row(dora, row_id) for row_id in ids(dora)}
    some = next(iter(rows))
    dora.send("PATCH", f"{ORDERS}{some}/", {"status": "cancelled", "title": f"{busy.canary} Gasket 7"},
              **{"If-Match": "*"})  # fmt: skip

    def found(**query: Any) -> set[str]:
        return set(ids(dora, **query))

    assert found(status="cancelled") == {some}
    assert found(status=["cancelled", "open"]) == set(rows)
    assert found(ids=some) == {some}
    assert found(site=busy.other_site) == {i for i, r in rows.items() if r["site"] != busy.site}
    assert found(territory=busy.newport) == found(site=busy.other_site)
    assert found(priority=1) == {i for i, r in rows.items() if r["priority"] == 1}
    assert found(unassigned="true") == set(rows)
    assert found(unassigned="false") == set()
    assert found(search="gasket") == {some}
    assert found(search="7 GASK") == {some}
    assert found(search="gasket nothing") == set()
    assert found(search="!!!") == set()
    assert found(search="O'Brien & (x | y):*") == set()
    assert found(status="cancelled", priority=rows[some]["priority"]) == {some}


def get_row(who: Phone, row_id: str) -> dict[str, Any]:
    found: dict[str, Any] = who.send("GET", f"{ORDERS}{row_id}/").json()
    return found


@pytest.mark.parametrize("collection", ADDRESSES)
def test_queries_do_not_grow_with_rows(
    busy: World, dora: Phone, collection: str, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    """Lists: who asks, and one for the page whatever is in it. Details: one for the row."""
    url = ADDRESSES[collection]
    counts = []
    for limit in (1, 200):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            rows = get(dora, url, limit=limit)["results"]
        counts.append(len(queries))
    assert counts[0] == counts[1] <= QUERIES

    with django_assert_num_queries(3):
        dora.send("GET", f"{url}{rows[0]['id']}/")


def test_list_is_not_read_again_before_something_changes(busy: World, dora: Phone) -> None:
    """Neither for who has it, nor from the tables; and any change is seen at once."""
    first = dora.send("GET", ORDERS)

    known = dora.send("GET", ORDERS, **{"If-None-Match": first["ETag"]})
    with CaptureQueriesContext(connection) as queries:
        again = dora.send("GET", ORDERS)
    make_order(dora, busy)
    changed = dora.send("GET", ORDERS, **{"If-None-Match": first["ETag"]})

    assert (known.status_code, known.content) == (304, b"")
    assert again.content == first.content
    assert not any('FROM "work_order"' in each["sql"] for each in queries)
    assert changed.status_code == 200
    assert len(changed.json()["results"]) == len(first.json()["results"]) + 1


def test_what_one_has_listed_no_other_is_shown(busy: World, dora: Phone, northwind: World) -> None:
    """The cache and the tags tell people, roles, scopes and tenants apart."""
    hers = dora.send("GET", ORDERS)
    alice, nina = busy.hire(), northwind.hire("dispatcher")

    for other in (alice, nina):
        answer = other.send("GET", ORDERS, **{"If-None-Match": hers["ETag"]})
        assert answer.status_code == 200
        assert answer.content != hers.content


def test_summary_counts_what_one_sees(busy: World, dora: Phone) -> None:
    alice = busy.hire()

    whole, part = get(dora, f"{ORDERS}summary/"), get(alice, f"{ORDERS}summary/", priority=3)

    assert whole["count"] == len(ids(dora)) == whole["unassigned"]
    assert whole["by_status"]["open"] == whole["count"]
    assert sum(whole["by_priority"].values()) == whole["count"]
    assert part["count"] == len(ids(alice, priority=3))
    assert part["by_priority"] == ({"3": part["count"]} if part["count"] else {})


def test_same_row_ids_in_two_tenants_stay_apart(wales: World, northwind: World) -> None:
    """Counts and names of a line are those of the tenant's own rows."""
    order, note = str(uuid7()), str(uuid7())
    for world, notes in ((wales, 1), (northwind, 2)):
        local_edits.apply(
            world.tenant.pk, [local_edits.create("work_orders", world.order(), order)]
        )
        made = [note, str(uuid7())][:notes]
        text = {"work_order": order, "text": world.canary}
        local_edits.apply(
            world.tenant.pk, [local_edits.create("notes", text, each) for each in made]
        )

    for world, notes in ((wales, 1), (northwind, 2)):
        (row,) = get(world.hire("dispatcher"), ORDERS)["results"]
        assert (row["id"], row["notes_count"]) == (order, notes)
        assert row["site_name"].startswith(world.canary)
