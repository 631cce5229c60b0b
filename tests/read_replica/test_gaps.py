"""Writers write, phones read through the replica, and it stands still now and then: nothing is missed."""

from __future__ import annotations

import dataclasses
import random
import threading
from collections import Counter
from typing import Any

from sync.failpoints import Point
from sync.testing.failpoints import at
from tests.crowd import at_once
from tests.faults.test_feed_has_no_gaps import (
    ROUNDS,
    WRITERS,
    Versions,
    dawdle,
    missed_by_readers,
    ours,
)
from tests.phones import World
from tests.read_replica.pair import Pair, pages_read

PAUSES_MAX = 10_000


def test_readers_of_a_lagging_replica_see_every_change(pair: Pair, wales: World) -> None:
    """The checker that finds what a sequence skips, with the replica in the way."""
    feed, rng = ours(wales), random.Random(1)
    is_over = threading.Event()
    read_from: Counter[str] = Counter()

    def poll(place: Any) -> tuple[Versions, Any]:
        with pages_read() as read:
            found = feed.poll(place)
        read_from.update(read)
        return found

    def check() -> tuple[int, int]:
        try:
            with at(Point.APPLIED, lambda: dawdle(rng)):
                return missed_by_readers([dataclasses.replace(feed, poll=poll)])[0]
        finally:
            is_over.set()

    def meddle() -> tuple[int, int]:
        for pauses in range(PAUSES_MAX):
            pair.replica.pause()
            pair.replica.resume()
            if is_over.is_set():
                return pauses, 0
        raise AssertionError("the readers never came to an end")

    (committed, missed), (pauses, _) = at_once([check, meddle])

    assert committed > WRITERS * ROUNDS // 2
    assert missed == 0
    assert pauses > 0
    assert read_from["replica"] > 0
    assert read_from["default"] > 0
