"""A replica that lags, at any moment of any pull: no gap, no loop, no 410, and the truth at the end."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.phones import Phone, World, create, delete, update
from tests.read_replica.pair import Pair, pages_read, truth
from tests.scenarios.test_changed_scopes import give
from tests.scenarios.test_stream import lines_of, open_stream, read

LIMIT = 3


def orders(count: int, world: World, **data: Any) -> list[dict[str, Any]]:
    return [create("work_orders", **world.order(**data)) for _ in range(count)]


class Work:
    """Orders in two territories, and what happens to them while the replica stands still."""

    def __init__(self, world: World, dora: Phone) -> None:
        self.world, self.dora = world, dora
        self.here = orders(6, world)
        self.there = orders(6, world, site=world.other_site)
        dora.push(*itertools.chain(*zip(self.here, self.there, strict=True)))

    def go_on(self) -> None:
        """Move, edit, delete and create, first and last ones, in both territories."""
        changes = []
        for mine, other in ((self.here, self.world.other_site), (self.there, self.world.site)):
            first, second, third, *_, last, last_but = (order["id"] for order in mine)
            changes += [
                delete("work_orders", first, 1),
                update("work_orders", second, 1, site=other),
                update("work_orders", third, 1, title=f"{self.world.canary} edited"),
                delete("work_orders", last, 1),
                update("work_orders", last_but, 1, site=other),
            ]
        changes += orders(2, self.world) + orders(2, self.world, site=self.world.other_site)
        assert {line["outcome"] for line in self.dora.push(*changes)} == {
            "created", "updated", "deleted",
        }  # fmt: skip


@pytest.fixture
def work(pair: Pair, wales: World, dora: Phone) -> Work:
    work = Work(wales, dora)
    pair.replica.catch_up()
    return work


def pull_on(phone: Phone, limit: int = LIMIT) -> int:
    """Pull to the end; return the number of pages, none of which stands still."""
    for count in range(1, 100):
        before = phone.cursor
        page = phone.pull_page(limit)
        assert page["cursor"] != before or not page["has_more"]
        if not page["has_more"]:
            return count
    raise AssertionError("the pages of this pull never end")


def test_every_head_is_told_while_the_replica_stands_still(
    pair: Pair, alice: Phone, work: Work, wales: World
) -> None:
    """For hours, it may be: each pull ends at the head of its moment, in as many pages as ever."""
    alice.pull()
    pair.replica.pause()

    for _ in range(4):
        work.dora.push(*orders(2 * LIMIT, wales))
        assert pull_on(alice) == 2
        assert alice.rows == truth(alice)


@pytest.mark.parametrize("pages", range(6))
@pytest.mark.parametrize("catches_up", [False, True], ids=["stands still", "comes back"])
def test_lag_begins_in_the_middle_of_a_first_sync(
    pages: int, catches_up: bool, pair: Pair, alice: Phone, work: Work
) -> None:
    """Also before its first page: what was deleted by then is not told, so it must not be shown."""
    for _ in range(pages):
        alice.pull_page(LIMIT)
    pair.replica.pause()
    work.go_on()
    alice.pull_page(LIMIT)
    if catches_up:
        pair.replica.resume()
        pair.replica.catch_up()

    pull_on(alice)

    assert alice.rows == truth(alice)


def test_first_sync_goes_on_from_a_replica_that_fell_behind_it(
    pair: Pair, alice: Phone, work: Work
) -> None:
    """All that it has, it may tell; the primary tells the end."""
    alice.pull_page(LIMIT)
    pair.replica.pause()
    work.go_on()

    with pages_read() as read_from:
        pull_on(alice)

    assert read_from["replica"] > 1
    assert alice.rows == truth(alice)


@pytest.mark.parametrize("chunk", range(1, 7))
def test_lag_begins_in_the_middle_of_a_stream(
    chunk: int, pair: Pair, alice: Phone, work: Work
) -> None:
    """Chunk by chunk as page by page."""

    def between(chunks: int) -> None:
        if chunks == chunk:
            pair.replica.pause()
            work.go_on()

    lines = lines_of(b"".join(read(open_stream(alice, f"limit={LIMIT}"), between)), alice)
    for line in lines:
        if "op" in line:
            alice.rows.pop((line["collection"], line["id"]), None)
        if line.get("op") == "upsert":
            alice.rows[line["collection"], line["id"]] = line["version"], line["data"]
    alice.cursor = lines[-1]["cursor"]
    pull_on(alice)  # its last chunk may have been read before

    assert lines[-1]["has_more"] is False
    assert alice.rows == truth(alice)


@pytest.mark.parametrize("pages", range(10))
def test_lag_begins_while_a_change_of_scopes_is_told(
    pages: int, pair: Pair, alice: Phone, work: Work, wales: World
) -> None:
    """Exits, entries, feed: each needs that the replica is as far as the phone is."""
    alice.pull()
    give(alice, wales.newport)
    for _ in range(pages):
        alice.pull_page(LIMIT)
    pair.replica.pause()
    work.go_on()

    pull_on(alice)

    assert alice.rows == truth(alice)


@pytest.mark.parametrize("pages", range(10))
def test_scopes_change_while_the_replica_is_behind_the_phone(
    pages: int, pair: Pair, alice: Phone, work: Work, wales: World
) -> None:
    """She has rows that the replica does not know, and knows of deletions that it has not heard of."""
    alice.pull()
    pair.replica.pause()
    work.go_on()
    alice.pull()
    give(alice, wales.newport)
    for _ in range(pages):
        alice.pull_page(LIMIT)
    pair.replica.resume()
    pair.replica.catch_up()

    pull_on(alice)

    assert alice.rows == truth(alice)


@pytest.mark.parametrize("pages", range(5))
def test_scopes_change_in_a_first_sync_while_the_replica_lags(
    pages: int, pair: Pair, alice: Phone, work: Work, wales: World
) -> None:
    """What was deleted before the sync began is not told, whichever phase shows it."""
    pair.replica.pause()
    work.go_on()
    for _ in range(pages):
        alice.pull_page(LIMIT)
    give(alice, wales.newport)

    pull_on(alice)

    assert alice.rows == truth(alice)


def test_scope_change_is_told_by_the_replica_that_is_current(
    pair: Pair, alice: Phone, work: Work, wales: World
) -> None:
    """Exits and entries are pages like all others."""
    alice.pull()
    give(alice, wales.newport)
    pair.replica.catch_up()

    with pages_read() as read_from:
        pull_on(alice)

    assert read_from.keys() == {"replica"}
    assert alice.rows == truth(alice)
