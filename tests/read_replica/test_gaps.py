"""Writers write, phones read through the replica, and it stands still now and then: nothing is missed."""

from __future__ import annotations

import random
import threading
import uuid
from collections import Counter
from typing import Any

from sync import feed, push, wire
from sync.clock import utc_now
from sync.types import Actor
from tests.crowd import at_once
from tests.faults.test_feed_has_no_gaps import PUSHES_PER_WRITER, WRITERS, Poll, missed_by_readers
from tests.phones import World, create, new_id
from tests.read_replica.pair import Pair, pages_read

PAUSES_MAX = 1_000


def test_readers_of_a_lagging_replica_see_every_change(pair: Pair, wales: World) -> None:
    """The checker that finds what a sequence skips, with the replica in the way."""
    actor = Actor(
        tenant_id=wales.tenant.pk,
        user_id=wales.hire().user_id,
        device_id=uuid.uuid4(),
        role="technician",
        scopes=frozenset({"tenant", f"territory:{wales.cardiff}"}),
    )
    is_over = threading.Event()
    read_from: Counter[str] = Counter()

    def write(rng: random.Random) -> list[str]:
        batch = [
            create("work_orders", new_id(), **wales.order()) for _ in range(rng.randint(1, 4))
        ]
        body = wire.encode({"mutations": batch})
        key = str(uuid.uuid4())
        answer = push.push(actor, key=key, route="POST", body=body, now=utc_now())
        assert answer.status == 200, answer.body
        return [mutation["id"] for mutation in batch]

    def make_poll() -> Poll:
        def poll(place: Any) -> tuple[list[str], Any]:
            with pages_read() as read:
                page = feed.pull(actor, cursor=place, limit=7, collections=["work_orders"])
            read_from.update(read)
            found = wire.decode(page.render(utc_now()))
            return [change["id"] for change in found["changes"]], found["cursor"]

        return poll

    def check() -> tuple[int, int]:
        try:
            return missed_by_readers(write, make_poll)
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

    assert committed >= WRITERS * PUSHES_PER_WRITER
    assert missed == 0
    assert pauses > 0
    assert read_from["replica"] > 0
    assert read_from["default"] > 0
