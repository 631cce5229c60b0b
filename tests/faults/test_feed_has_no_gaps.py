"""Writers commit out of order while readers poll: every committed change is seen.

The checker is only worth what it finds: in the same run the same writers and readers use a feed
that is numbered by a sequence, as tutorials do it, and there it must find what was skipped.
"""

from __future__ import annotations

import os
import random
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db import connection, transaction

from sync import feed, push, wire
from sync.clock import utc_now
from sync.failpoints import Point
from sync.testing.failpoints import at
from sync.types import Actor
from tests.crowd import at_once
from tests.phones import World, create, new_id, update

WRITERS, READERS = 16, 8
# Rounds of a writer: so few already lose some of the sequence's; 100 take about 20 s on two cores.
ROUNDS = int(os.environ.get("GAPS_ROUNDS", "12"))
POLLS_MAX = 100_000
PAGE_ROWS = 50
DAWDLE_S_MAX = 0.02
EDIT_SHARE = 0.3  # of pushes: a row that the writer made before is edited

Versions = dict[str, int]  # row -> version
Write = Callable[[random.Random], Versions]  # commits something, returns what
Poll = Callable[[Any], tuple[Versions, Any]]  # place -> (what is seen, the next place)


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """Something to write to and to read from; each writer and each reader makes its own end."""

    make_write: Callable[[], Write]
    poll: Poll


def missed_by_readers(feeds: Sequence[Feed]) -> list[tuple[int, int]]:
    """Let all write and read all feeds at once; return what was committed and missed in each.

    A reader goes on until it has polled once more after the last commit and found nothing. What
    counts is the newest version of a row: older ones are no longer in a feed.
    """
    is_over = threading.Event()
    committed: list[Versions] = [{} for _ in feeds]

    def writer(seed: int) -> None:
        rng = random.Random(seed)
        writes = [each.make_write() for each in feeds]
        for _ in range(ROUNDS):
            for versions, write in zip(committed, writes, strict=True):
                versions.update(write(rng))

    def writers() -> list[Versions]:
        try:
            at_once([partial(writer, n) for n in range(WRITERS)])
        finally:
            is_over.set()
        return []

    works: list[Callable[[], list[Versions]]] = [writers]
    works += [partial(read_all, feeds, is_over)] * READERS
    of_readers = at_once(works)[1:]
    return [
        (len(versions), sum(len(versions.items() - seen[n].items()) for seen in of_readers))
        for n, versions in enumerate(committed)
    ]


def read_all(feeds: Sequence[Feed], is_over: threading.Event) -> list[Versions]:
    """Poll all feeds in turn, to their end; return what was seen in each."""
    places: list[Any] = [None for _ in feeds]
    seen: list[Versions] = [{} for _ in feeds]
    for _ in range(POLLS_MAX):
        was_over, found_any = is_over.is_set(), False
        for n, each in enumerate(feeds):
            found, places[n] = each.poll(places[n])
            seen[n].update(found)
            found_any = found_any or bool(found)
        if was_over and not found_any:
            return seen
    raise AssertionError("the reader never came to an end")


def dawdle(rng: random.Random) -> None:
    """Spend a random moment inside the transaction, as real work does."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s)", [rng.random() * DAWDLE_S_MAX])


def ours(wales: World) -> Feed:
    """Return the feed of a tenant."""
    actor = Actor(
        tenant_id=wales.tenant.pk,
        user_id=wales.hire().user_id,
        device_id=uuid.uuid4(),
        role="technician",
        scopes=frozenset({"tenant", f"territory:{wales.cardiff}"}),
    )

    def make_write() -> Write:
        own: Versions = {}

        def write(rng: random.Random) -> Versions:
            if own and rng.random() < EDIT_SHARE:
                row_id = rng.choice(list(own))
                title = f"{wales.canary} {rng.random()}"
                batch = [update("work_orders", row_id, own[row_id], title=title)]
            else:
                count = rng.randint(1, 4)
                batch = [create("work_orders", new_id(), **wales.order()) for _ in range(count)]
            answer = push.push(
                actor,
                key=str(uuid.uuid4()),
                route="POST",
                body=wire.encode({"mutations": batch}),
                now=utc_now(),
            )
            assert answer.status == 200, answer.body
            results = wire.decode(answer.body)["results"]
            written: Versions = {line["id"]: line["version"] for line in results}
            own.update(written)
            return written

        return write

    def poll(place: Any) -> tuple[Versions, Any]:
        page = feed.pull(actor, cursor=place, limit=PAGE_ROWS, collections=["work_orders"])
        found = wire.decode(page.render(utc_now()))
        return {each["id"]: each["version"] for each in found["changes"]}, found["cursor"]

    return Feed(make_write=make_write, poll=poll)


@contextmanager
def numbered_by_a_sequence() -> Iterator[Feed]:
    """Make a table whose lines are read by their number; drop it afterwards."""
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS control_feed")
        cursor.execute("CREATE TABLE control_feed (seq bigserial PRIMARY KEY, row_id text)")

    def write(rng: random.Random) -> Versions:
        row_id = new_id()
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("INSERT INTO control_feed (row_id) VALUES (%s)", [row_id])
            dawdle(rng)
        return {row_id: 1}

    def poll(place: Any) -> tuple[Versions, Any]:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT seq, row_id FROM control_feed WHERE seq > %s ORDER BY seq LIMIT %s",
                [place or 0, PAGE_ROWS],
            )
            lines = cursor.fetchall()
        return {row_id: 1 for _, row_id in lines}, lines[-1][0] if lines else place

    try:
        yield Feed(make_write=lambda: write, poll=poll)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE control_feed")


def test_readers_see_every_change_of_concurrent_writers(wales: World) -> None:
    """The head is counted under a lock and published with its rows: no seq appears late.

    The sequence of the same run loses some; without that, nothing would be proven.
    """
    rng = random.Random(1)
    with numbered_by_a_sequence() as control, at(Point.APPLIED, lambda: dawdle(rng)):
        ours_came, control_came = missed_by_readers([ours(wales), control])

    committed, missed = ours_came
    assert committed > WRITERS * ROUNDS // 2
    assert missed == 0
    committed, missed = control_came
    assert committed == WRITERS * ROUNDS
    assert missed > 0
