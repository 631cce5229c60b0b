"""The same content under a new key: no version, no change in the feed, no write at all.

A phone restored from a backup, or an app that sends all it has to be safe, must not make every
other phone pull it again. Compared are the places of the stored rows themselves: PostgreSQL never
updates in place, so a row that was written again, even with its old values, has moved.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from sync import local_edits
from sync.registry import ranked_collections
from tests.phones import Phone, World, create, delete, new_id, update
from tests.scenarios.reading import outcomes

LOG = ("sync_stream", "sync_change", "sync_entry", "sync_quarantine")
Places = dict[str, list[tuple[Any, ...]]]


def places() -> Places:
    """Return where each row of the domain and of the log lies, and which transaction wrote it."""
    tables = list(LOG)
    for collection in ranked_collections().values():
        tables += [
            collection.table,
            *(nested.model._meta.db_table for nested in collection.nested),
        ]
    with connection.cursor() as cursor:
        found = {}
        for table in tables:
            cursor.execute(
                f"SELECT ctid::text, xmin::text FROM {table} ORDER BY ctid"
            )  # names of our own tables
            found[table] = cursor.fetchall()
    return found


class Work:
    """A work order with tasks, a form with answers, a note, and a work order that was deleted."""

    def __init__(self, world: World) -> None:
        self.asset = create("assets", site=world.site, tag="p1", category="pump")
        tasks = [{"id": new_id(), "position": n, "text": f"task {n}"} for n in range(3)]
        self.order = create("work_orders", **world.order(tasks=tasks))
        self.note = create("notes", work_order=self.order["id"], text="rust")
        answers = [{"id": new_id(), "item_code": code, "value": "ok"} for code in "abc"]
        self.form = create(
            "inspections", asset=self.asset["id"], template_code="T", answers=answers
        )
        self.gone = create("work_orders", **world.order())

    @property
    def creates(self) -> list[dict[str, Any]]:
        return [self.asset, self.order, self.note, self.form]

    def edit(self, **data: Any) -> dict[str, Any]:
        return update("work_orders", self.order["id"], 1, **data)

    def answer(self, place: int, **data: Any) -> dict[str, Any]:
        child = {"id": self.form["data"]["answers"][place]["id"], **data}
        return update("inspections", self.form["id"], 1, answers=[child])


@pytest.fixture
def work(dora: Phone, wales: World) -> Work:
    work = Work(wales)
    assert set(outcomes(dora.push(*work.creates, work.gone))) == {"created"}
    assert outcomes(dora.push(delete("work_orders", work.gone["id"], 1))) == ["deleted"]
    return work


CASES: dict[str, Callable[[Work], list[dict[str, Any]]]] = {
    "creates with their children": lambda w: w.creates,
    "create as edits": lambda w: [w.edit(**w.order["data"])],
    "field": lambda w: [w.edit(kind="repair")],
    "nothing": lambda w: [w.edit()],
    "list of children that is replaced": lambda w: [w.edit(tasks=w.order["data"]["tasks"])],
    "child that is merged": lambda w: [w.answer(0, value="ok")],
    "children that are merged": lambda w: [
        update("inspections", w.form["id"], 1, answers=w.form["data"]["answers"])
    ],
    "removal of a child that is not there": lambda w: [
        update("inspections", w.form["id"], 1, answers=[{"id": new_id(), "deleted": True}])
    ],
    "delete": lambda w: [delete("work_orders", w.gone["id"], 1)],
    "delete on the newest version": lambda w: [delete("work_orders", w.gone["id"], 2)],
    "all of it": lambda w: [*w.creates, w.edit(kind="repair"), w.answer(1, value="ok"),
                            delete("work_orders", w.gone["id"], 1)],
}  # fmt: skip


@pytest.mark.parametrize("policy", ["per_row", "all_or_nothing"])
@pytest.mark.parametrize("case", CASES)
def test_same_content_under_a_new_key_touches_no_row(
    case: str, policy: str, dora: Phone, work: Work
) -> None:
    """Whatever it is, and from whichever phone: nobody has anything to pull."""
    dora.pull()
    before = places()

    results = dora.push(*CASES[case](work), policy=policy)

    assert set(outcomes(results)) == {"unchanged"}
    assert places() == before
    assert dora.pull() == []


def test_same_content_from_a_colleague_touches_no_row(
    alice: Phone, dora: Phone, work: Work
) -> None:
    """Two people write down the same: the second is told so, and the row stays the first one's."""
    dora.push(work.edit(priority=1))
    before = places()

    results = alice.push(work.edit(priority=1), *work.creates[2:])

    assert outcomes(results) == ["unchanged"] * 3
    assert [line["version"] for line in results] == [2, 1, 1]
    assert places() == before


def test_same_content_on_an_old_base_is_no_conflict(dora: Phone, work: Work) -> None:
    """The row moved on twice since, and is as the phone wants it: there is nothing to decide."""
    dora.push(work.edit(priority=1, title="b"))
    dora.push(update("work_orders", work.order["id"], 2, description="c"))
    dora.push(work.answer(0, value="leaks"))
    before = places()

    results = dora.push(work.edit(priority=1), work.edit(title="b"), work.answer(0, value="leaks"))

    assert [(line["outcome"], line["version"]) for line in results] == [
        ("unchanged", 3), ("unchanged", 3), ("unchanged", 2),
    ]  # fmt: skip
    assert places() == before


def test_only_what_differs_is_written(dora: Phone, wales: World, work: Work) -> None:
    """One new value among much that is old: one row moves, and the feed grows by one."""
    before = places()

    results = dora.push(*work.creates[:1], work.edit(priority=1), *work.creates[2:])

    after = places()
    assert outcomes(results) == ["unchanged", "updated", "unchanged", "unchanged"]
    moved = {name: len(set(after[name]) - set(before[name])) for name in after}
    scopes = 1  # its territory's
    assert {name: count for name, count in moved.items() if count} == {
        "work_order": 1, "sync_change": 1, "sync_entry": scopes, "sync_stream": 1,
    }  # fmt: skip


def test_office_that_writes_the_same_again_touches_no_row(wales: World, work: Work) -> None:
    """An import that runs every night."""
    before = places()

    results = local_edits.apply(
        wales.tenant.pk,
        [local_edits.update("work_orders", work.order["id"], work.order["data"])],
    )

    assert [result.outcome for result in results] == ["unchanged"]
    assert places() == before
