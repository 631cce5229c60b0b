"""Writers commit out of order while readers poll: every committed change is seen.

The checker is only worth what it finds, so the same one runs over a feed that is numbered by a
sequence, as tutorials do it; there it must find changes that were skipped.
"""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

from django.db import connection, transaction

from sync import feed, push, wire
from sync.clock import utc_now
from sync.types import Actor
from tests.crowd import at_once
from tests.phones import World, create, new_id

WRITERS, READERS, PUSHES_PER_WRITER = 20, 5, 12
POLLS_MAX = 20_000

Write = Callable[[random.Random], list[str]]  # commits something, returns the ids
Poll = Callable[[Any], tuple[list[str], Any]]  # place -> (ids seen, next place)


def missed_by_readers(write: Write, make_poll: Callable[[], Poll]) -> tuple[int, int]:
    """Let all write and read at once; return how many changes there were and how many were missed.

    A reader goes on until it has polled once more after the last commit and found nothing.
    """
    is_over = threading.Event()
    committed: list[str] = []

    def writer(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(PUSHES_PER_WRITER):
            committed.extend(write(rng))

    def reader() -> set[str]:
        poll, place, seen = make_poll(), None, set()
        for _ in range(POLLS_MAX):
            was_over = is_over.is_set()
            ids, place = poll(place)
            seen.update(ids)
            if was_over and not ids:
                return seen
        raise AssertionError("the reader never came to an end")

    def writers() -> set[str]:
        try:
            at_once([partial(writer, n) for n in range(WRITERS)])
        finally:
            is_over.set()
        return set()

    seen = at_once([writers, *[reader] * READERS])[1:]
    return len(committed), sum(len(set(committed) - of_reader) for of_reader in seen)


def dawdle(rng: random.Random) -> None:
    """Spend a random moment inside the transaction, as real work does."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s)", [rng.random() * 0.02])


def test_readers_see_every_change_of_concurrent_writers(wales: World) -> None:
    """The head is counted under a lock and published with its rows: no seq appears late."""
    actor = Actor(
        tenant_id=wales.tenant.pk,
        user_id=wales.hire().user_id,
        device_id=uuid.uuid4(),
        role="technician",
        scopes=frozenset({"tenant", f"territory:{wales.cardiff}"}),
    )

    def write(rng: random.Random) -> list[str]:
        batch = [
            create("work_orders", new_id(), **wales.order()) for _ in range(rng.randint(1, 4))
        ]
        answer = push.push(
            actor,
            key=str(uuid.uuid4()),
            route="POST",
            body=wire.encode({"mutations": batch}),
            now=utc_now(),
        )
        assert answer.status == 200, answer.body
        return [mutation["id"] for mutation in batch]

    def make_poll() -> Poll:
        def poll(place: Any) -> tuple[list[str], Any]:
            page = feed.pull(actor, cursor=place, limit=50, collections=["work_orders"])
            found = wire.decode(page.render(utc_now()))
            return [change["id"] for change in found["changes"]], found["cursor"]

        return poll

    committed, missed = missed_by_readers(write, make_poll)

    assert committed >= WRITERS * PUSHES_PER_WRITER
    assert missed == 0


def test_the_same_checker_finds_what_a_sequence_skips(wales: World) -> None:
    """Without losses here, the test above would prove nothing."""
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS control_feed")
        cursor.execute("CREATE TABLE control_feed (seq bigserial PRIMARY KEY, row_id text)")

    def write(rng: random.Random) -> list[str]:
        row_id = new_id()
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("INSERT INTO control_feed (row_id) VALUES (%s)", [row_id])
            dawdle(rng)
        return [row_id]

    def make_poll() -> Poll:
        def poll(place: Any) -> tuple[list[str], Any]:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT seq, row_id FROM control_feed WHERE seq > %s ORDER BY seq LIMIT 50",
                    [place or 0],
                )
                lines = cursor.fetchall()
            return [row_id for _, row_id in lines], lines[-1][0] if lines else place

        return poll

    try:
        committed, missed = missed_by_readers(write, make_poll)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE control_feed")

    assert committed == WRITERS * PUSHES_PER_WRITER
    assert missed > 0
