"""Pushes over the same rows in opposite orders: nobody waits in a circle.

The load is only worth what it provokes. So the same load runs once more with its rows locked in
the order in which the phones sent them, and there PostgreSQL must have deadlocks to break.
"""

from __future__ import annotations

import dataclasses
import itertools
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from django.db import OperationalError, connection

from backend.fieldwork.models import WorkOrder
from sync.failpoints import Point
from sync.models import ChangeRow, Stream
from sync.testing.failpoints import at
from tests.crowd import WAIT_S, at_once
from tests.faults.agreement import disagreements
from tests.faults.rig import wait_until
from tests.faults.sessions import Session, asking, deadlocks, session, sessions_waiting
from tests.phones import Phone, World, create, new_id, update

FIELDS = ("title", "description", "priority", "due_at", "completed_at", "kind")  # one a writer
WRITERS = len(FIELDS)
ROWS = 400


@dataclasses.dataclass(kw_only=True)
class Load:
    """Writers that edit the same rows at once, every second one from the other end."""

    phones: Sequence[Phone]
    ids: Sequence[str]
    tries: itertools.count[int] = dataclasses.field(default_factory=itertools.count)
    unlocked: threading.local = dataclasses.field(default_factory=threading.local)

    def run(self, rounds: int, writers: int, on_claim: Callable[[], object] = lambda: None) -> int:
        """Return how many pushes there were."""

        def note() -> None:
            next(self.tries)
            on_claim()

        with at(Point.CLAIMED, note):
            at_once([partial(self._write, writer, rounds) for writer in range(writers)])
        return rounds * writers

    def tries_made(self) -> int:
        """Return how many transactions the pushes took; each reads the counter once."""
        return next(self.tries)

    def _write(self, writer: int, rounds: int) -> None:
        """Give one field of every row another value in each round; others edit other fields."""
        ids = list(self.ids) if writer % 2 else list(reversed(self.ids))
        versions = dict.fromkeys(self.ids, 1)
        for round_ in range(rounds):
            value = value_of(FIELDS[writer], round_)
            self.unlocked.ids = ids
            batch = [update("work_orders", i, versions[i], **{FIELDS[writer]: value}) for i in ids]
            for line in self.phones[writer].push(*batch):
                assert line["outcome"] in {"updated", "merged"}, line
                versions[line["id"]] = line["version"]


def value_of(field: str, round_: int) -> Any:
    return {
        "title": f"round {round_}",
        "description": f"round {round_}",
        "priority": 1 + (round_ + 3) % 5,
        "due_at": f"2026-12-0{1 + round_}T00:00:00Z",
        "completed_at": f"2026-12-0{1 + round_}T00:00:00Z",
        "kind": ("inspection", "install")[round_ % 2],
    }[field]


@pytest.fixture
def load(wales: World, settings: Any) -> Load:
    """A load whose pushes wait for each other as long as it takes: a slow machine is no deadlock."""
    settings.SYNC = {**settings.SYNC, "LOCK_WAIT_MS": 60_000, "TRANSACTION_TRIES_MAX": 20}
    phones = [wales.hire() for _ in range(WRITERS)]
    orders = [create("work_orders", new_id(), **wales.order()) for _ in range(ROWS)]
    phones[0].push(*orders)
    return Load(phones=phones, ids=[order["id"] for order in orders])


def deadlocks_so_far(watcher: Session) -> int:
    """Return PostgreSQL's count, when the sessions that could still add to it have ended.

    Those are younger than the watcher; servers of other tests may keep theirs.
    """
    connection.close()
    wait_until(
        lambda: (
            watcher.execute(
                "SELECT count(*) FROM pg_stat_activity AS other, pg_stat_activity AS own"
                " WHERE own.pid = pg_backend_pid() AND other.datname = current_database()"
                " AND other.backend_type = 'client backend'"
                " AND other.backend_start > own.backend_start"
            ).fetchone()
            == (0,)
        )
    )
    return deadlocks(watcher)


@pytest.mark.own_session
def test_opposite_orders_never_deadlock(wales: World, load: Load) -> None:
    """No push is tried twice, no edit is lost, and PostgreSQL had no circle to break."""
    rounds = 2
    head = Stream.objects.get(tenant_id=wales.tenant.pk).head
    with session(autocommit=True) as watcher:
        before = deadlocks_so_far(watcher)
        pushes = load.run(rounds, WRITERS)
        assert load.tries_made() == pushes
        assert deadlocks_so_far(watcher) == before
        assert disagreements(asking(watcher), wales.tenant.pk) == []

    rows = WorkOrder.objects.filter(pk__in=load.ids)
    assert set(rows.values_list("version", flat=True)) == {1 + pushes}
    assert set(rows.values_list("title", "priority", "kind")) == {
        tuple(value_of(field, rounds - 1) for field in ("title", "priority", "kind"))
    }
    assert Stream.objects.get(tenant_id=wales.tenant.pk).head == head + pushes * ROWS
    assert ChangeRow.objects.filter(collection="work_orders").count() == ROWS


def test_the_same_load_deadlocks_when_rows_are_locked_as_they_come(load: Load) -> None:
    """Without deadlocks here, the test above would prove nothing. They are tried again inside.

    Two writers are enough, and PostgreSQL needs a second for each circle.
    """
    both_have_begun = threading.Barrier(2)

    def lock_as_they_come() -> None:
        ids, load.unlocked.ids = load.unlocked.ids, []
        if not ids:
            return  # later tries are in order
        both_have_begun.wait(WAIT_S)
        with connection.cursor() as cursor:
            for row_id in ids:
                cursor.execute("SELECT FROM work_order WHERE id = %s FOR NO KEY UPDATE", [row_id])

    with session(autocommit=True) as watcher:
        before = deadlocks_so_far(watcher)
        pushes = load.run(1, writers=2, on_claim=lock_as_they_come)
        assert load.tries_made() > pushes
        assert deadlocks_so_far(watcher) > before


def test_the_same_rows_created_in_opposite_orders_never_deadlock(wales: World) -> None:
    """A cloned phone has the same outbox; it waits for its twin's rows, not in a circle with it.

    A third push holds the row in the middle until both have come as far as they can, and fails.
    """
    phones = [wales.hire("dispatcher") for _ in range(3)]
    assets = [create("assets", new_id(), site=wales.site, category=f"{n}") for n in range(9)]
    middle_is_held = threading.Event()
    is_over = threading.Event()

    with session(autocommit=True) as watcher:

        def hold_the_middle() -> None:
            if not is_over.is_set():
                middle_is_held.set()
                wait_until(lambda: sessions_waiting(watcher) == 2)
                is_over.set()
                raise OperationalError

        def push_middle() -> list[str]:
            answer = phones[2].push_raw({"mutations": [assets[len(assets) // 2]]})
            assert answer.status_code == 503
            return []

        def push_all(phone: Phone, batch: list[dict[str, Any]]) -> list[str]:
            assert middle_is_held.wait(WAIT_S)
            return sorted({line["outcome"] for line in phone.push(*batch)})

        works: list[Callable[[], list[str]]] = [
            push_middle,
            partial(push_all, phones[0], assets),
            partial(push_all, phones[1], assets[::-1]),
        ]
        before = deadlocks_so_far(watcher)
        with at(Point.APPLIED, hold_the_middle):
            reports = at_once(works)
        assert deadlocks_so_far(watcher) == before

    assert sorted(reports) == [[], ["created"], ["unchanged"]]
