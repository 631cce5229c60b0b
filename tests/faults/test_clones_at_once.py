"""Phones with one identity pull at once, while rows are written and their person is reassigned."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from collections.abc import Callable
from functools import partial
from uuid import UUID

from backend.accounts.models import Membership
from tests.crowd import at_once
from tests.phones import Phone, World, create, delete, update

CLONES, ROUNDS, PAGE_ROWS = 4, 12, 3
PAGES_MAX = 10_000


def pull_until(is_over: threading.Event, clone: Phone) -> bool:
    """Pull small pages for as long as there is anything, or something may still come."""
    for _ in range(PAGES_MAX):
        was_over = is_over.is_set()
        if not clone.pull_page(PAGE_ROWS)["has_more"] and was_over:
            return True
    raise AssertionError("the pages of this pull never end")


def write_and_reassign(alice: Phone, dora: Phone, wales: World) -> None:
    """Make, edit, move and delete rows; between any two of it she is sent somewhere else."""
    places = itertools.cycle(
        [[wales.newport], [wales.cardiff], [], [wales.cardiff, wales.newport]]
    )
    for _ in range(ROUNDS):
        orders = [create("work_orders", **wales.order()) for _ in range(4)]
        dora.push(*orders)
        dora.push(
            update("work_orders", orders[0]["id"], 1, title=f"{wales.canary} edited"),
            update("work_orders", orders[1]["id"], 1, site=wales.other_site),
            delete("work_orders", orders[2]["id"], 1),
        )
        held = [UUID(territory) for territory in next(places)]
        Membership.objects.filter(user_id=alice.user_id).update(territories=held)


def test_clones_that_pull_at_once_all_end_right(wales: World) -> None:
    """Whatever page of whichever phase each is at: the server keeps nothing between two pages."""
    alice, dora = wales.hire(), wales.hire("dispatcher")
    dora.push(*(create("work_orders", **wales.order()) for _ in range(10)))
    alice.pull_page(PAGE_ROWS)
    clones = [dataclasses.replace(alice, rows=dict(alice.rows)) for _ in range(CLONES)]
    is_over = threading.Event()

    def live_on() -> bool:
        try:
            write_and_reassign(alice, dora, wales)
        finally:
            is_over.set()
        return True

    works: list[Callable[[], bool]] = [live_on]
    works += [partial(pull_until, is_over, clone) for clone in clones]
    at_once(works)

    alice.pull(PAGE_ROWS)
    fresh = dataclasses.replace(alice, cursor=None, rows={})
    fresh.pull()
    assert [clone.rows == fresh.rows for clone in [alice, *clones]] == [True] * (CLONES + 1)
    assert len(fresh.rows) > ROUNDS
