"""Law: pushes at the same time end as if they had come one after the other.

It holds for phones as they are: they edit and delete what they have pulled, and make ids that
nobody else makes. A row that does not exist yet cannot be locked; so who edits a row that another
phone is creating in this moment may be told `not_found` by a push that sees the other's rest.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from sync.failpoints import Point
from sync.testing.failpoints import at
from tests.crowd import at_once
from tests.faults.rig import wait_until
from tests.faults.sessions import Session, session, sessions_waiting
from tests.laws.pushes import FIRST, Batch, batches, of_phone, with_bases
from tests.laws.shop import Shop, open_shop, report

PHONES = 3
PAUSES = [point for point in Point if point not in {Point.RECEIVED, Point.COMMITTED}]

Report = list[tuple[Any, ...]]


def push_at_once(
    shop: Shop, pushes: Sequence[Batch], watcher: Session, paused: int, point: Point
) -> list[Report]:
    """Push all at once; one stops at `point` until the others have finished or wait for a lock."""
    phone = threading.local()
    finished: list[int] = []
    have_paused: list[int] = []

    def pause() -> None:
        if phone.number == paused and not have_paused:
            have_paused.append(paused)
            wait_until(lambda: len(finished) + sessions_waiting(watcher) >= len(pushes) - 1)

    def push(number: int) -> Report:
        phone.number = number
        try:
            return report(shop.push(pushes[number], f"k{number}", number))
        finally:
            finished.append(number)

    with at(point, pause):
        return at_once([partial(push, number) for number in range(len(pushes))])


def one_after_the_other(pushes: Sequence[Batch], order: Sequence[int]) -> tuple[list[Report], Any]:
    """Return the reports, by push, and the end of a serial run in a shop of its own."""
    shop = open_shop()
    shop.push(FIRST, "first")
    reports = {number: report(shop.push(pushes[number], f"k{number}", number)) for number in order}
    return [reports[number] for number in sorted(reports)], shop.state()


@pytest.mark.django_db(transaction=True)
@settings(
    max_examples=40,
    deadline=None,
    phases=[__import__("hypothesis").Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(
    st.lists(batches, min_size=PHONES, max_size=PHONES),
    st.integers(0, PHONES - 1),
    st.sampled_from(PAUSES),
)
def test_any_interleaving_equals_some_order(drawn: list[Batch], paused: int, point: Point) -> None:
    """Reports, rows, versions, the feed: all is as in one of the serial runs."""
    shop = open_shop()
    shop.push(FIRST, "first")
    known = shop.versions()
    pushes = [of_phone(with_bases(batch, known), n) for n, batch in enumerate(drawn)]

    with session(autocommit=True) as watcher:
        reports = push_at_once(shop, pushes, watcher, paused, point)
    end = shop.state()

    runs = (one_after_the_other(pushes, o) for o in itertools.permutations(range(PHONES)))
    assert any(run == (reports, end) for run in runs), (reports, end)
