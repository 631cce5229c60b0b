"""What the database asks for another try for is tried again inside; a phone sees only 503.

Every refusal here is PostgreSQL's own: a lock that somebody holds, a deadlock, a row that changed
under a snapshot, a session that is ended, a server that has become a replica.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from django.db import connection
from psycopg.errors import DeadlockDetected

from backend.accounts.models import Device
from backend.fieldwork.models import WorkOrder
from sync.conf import sync_settings
from sync.failpoints import Point
from sync.models import Receipt
from sync.testing.failpoints import at
from tests.crowd import at_once
from tests.faults.rig import wait_until
from tests.faults.sessions import session, sessions_waiting
from tests.phones import PULL, Phone, World, create, make_world, update

LOCK_ROW = "SELECT FROM work_order WHERE id = %s FOR UPDATE"
LOCK_STREAM = "SELECT FROM sync_stream WHERE tenant_id = %s FOR UPDATE"
TRIES = 4  # the first and three more
STORIES_MAX = 10


@pytest.fixture
def alice(wales: World) -> Phone:
    return wales.hire()


@pytest.fixture
def order_id(wales: World, alice: Phone) -> str:
    order = create("work_orders", **wales.order())
    alice.push(order)
    return str(order["id"])


@pytest.fixture
def impatient(settings: Any) -> None:
    """Wait for locks a moment only."""
    settings.SYNC = {**settings.SYNC, "LOCK_WAIT_MS": 40}


@contextmanager
def tries_counted(
    on_try: Callable[[int], object] = lambda _number: None,
) -> Iterator[list[int]]:
    """Note each try of a push, 1, 2, …; `on_try` runs when it has claimed its key."""
    numbers, seen = itertools.count(1), list[int]()

    def note() -> None:
        seen.append(next(numbers))
        on_try(seen[-1])

    with at(Point.CLAIMED, note):
        yield seen


def edit(alice: Phone, order_id: str, key: str = "k") -> Any:
    body = {"policy": "per_row", "mutations": [update("work_orders", order_id, 1, title="late")]}
    return alice.push_raw(body, key)


def assert_unavailable(answer: Any) -> None:
    assert (answer.status_code, answer.json()["code"]) == (503, "temporarily_unavailable")
    assert answer["Retry-After"] == "2"


def assert_untouched_and_free(alice: Phone, order_id: str) -> None:
    """Nothing was done, and the same request succeeds now."""
    assert WorkOrder.objects.get(pk=order_id).version == 1
    assert not Receipt.objects.filter(key="k").exists()
    again = edit(alice, order_id)
    assert again.json()["results"][0]["outcome"] == "updated"
    assert "Idempotency-Replayed" not in again


def test_a_row_that_is_held_a_moment_is_tried_again(
    alice: Phone, order_id: str, impatient: None
) -> None:
    """The office's transaction ends during the third try; the phone hears nothing of it (55P03)."""
    with session() as office:
        office.execute(LOCK_ROW, [order_id])
        with tries_counted(lambda number: office.commit() if number == 3 else None) as tries:
            answer = edit(alice, order_id)

    assert answer.json()["results"][0]["outcome"] == "updated"
    assert tries == [1, 2, 3]


@pytest.mark.parametrize("lock", ["row", "stream"])
def test_a_lock_that_stays_held_is_a_503(
    wales: World, alice: Phone, order_id: str, impatient: None, lock: str
) -> None:
    """The tries are bounded; another tenant does not notice."""
    nick = make_world("northwind").hire()
    other_order = create("work_orders", title="other", kind="repair", site=site_of(nick))

    with session() as office, tries_counted() as tries:
        sql, held = (LOCK_ROW, order_id) if lock == "row" else (LOCK_STREAM, str(wales.tenant.pk))
        office.execute(sql, [held])
        answer = edit(alice, order_id)
        assert len(tries) == TRIES == sync_settings().transaction_tries_max
        assert nick.push(other_order)[0]["outcome"] == "created"

    assert_unavailable(answer)
    assert_untouched_and_free(alice, order_id)


def site_of(phone: Phone) -> str:
    phone.pull()
    return next(row_id for name, row_id in phone.rows if name == "sites")


def test_a_deadlock_is_tried_again(wales: World, alice: Phone) -> None:
    """A script takes the stream first and the row last: PostgreSQL ends the push, which returns.

    It ends the one that notices: the push, which waits first, unless the script took a second to
    follow. Then the story is told again.
    """
    for _ in range(STORIES_MAX):
        order = create("work_orders", **wales.order())
        alice.push(order)
        answer, tries, was_script_ended = meet_in_a_deadlock(wales, alice, order["id"])
        assert answer.json()["results"][0]["outcome"] == "updated"
        if not was_script_ended:
            break

    assert tries == [1, 2]


def meet_in_a_deadlock(wales: World, alice: Phone, order_id: str) -> tuple[Any, list[int], bool]:
    """Return the answer to the push, its tries, and whether the script was ended instead."""
    with session() as script, session(autocommit=True) as watcher, tries_counted() as tries:
        script.execute(LOCK_STREAM, [wales.tenant.pk])

        def run_script() -> bool:
            wait_until(lambda: sessions_waiting(watcher) == 1)  # the push holds the row
            try:
                script.execute(LOCK_ROW, [order_id])  # now each waits for the other
            except DeadlockDetected:
                script.rollback()
                return True
            script.commit()
            return False

        key = f"k-{order_id}"
        works: list[Callable[[], Any]] = [partial(edit, alice, order_id, key), run_script]
        answer, was_script_ended = at_once(works)
    return answer, tries, was_script_ended


@pytest.mark.parametrize(("changes", "tries_needed"), [(1, 2), (2, 3), (99, TRIES)])
def test_a_row_that_changed_under_the_snapshot_is_tried_again(
    alice: Phone, order_id: str, changes: int, tries_needed: int
) -> None:
    """Some databases are set to REPEATABLE READ: then it is 40001 instead of a wait."""
    with session(autocommit=True) as office:

        def touch(number: int) -> None:
            if number <= changes:
                office.execute(
                    "UPDATE work_order SET updated_at = now() WHERE id = %s", [order_id]
                )

        with repeatable_read(), tries_counted(touch) as tries:
            answer = edit(alice, order_id)

    assert len(tries) == tries_needed
    if changes < TRIES:
        assert answer.json()["results"][0]["outcome"] == "updated"
    else:
        assert_unavailable(answer)
        assert_untouched_and_free(alice, order_id)


@contextmanager
def repeatable_read() -> Iterator[None]:
    with session_setting("default_transaction_isolation", "repeatable read"):
        yield


@contextmanager
def session_setting(name: str, value: str) -> Iterator[None]:
    """Set a default of this thread's session, as an operator does for a role or a database."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET {name} = '{value}'")
    try:
        yield
    finally:
        connection.close()


@pytest.mark.own_session
def test_a_server_that_became_a_replica_is_a_503(alice: Phone, order_id: str) -> None:
    """After a failover kept connections lead to the old primary, which takes no writes (25006)."""
    with session_setting("default_transaction_read_only", "on"):
        answer = edit(alice, order_id)
        assert_unavailable(answer)
        assert_untouched_and_free(alice, order_id)  # on a new connection


@pytest.mark.own_session
def test_a_pull_from_a_replica_is_a_503(alice: Phone) -> None:
    """Also where it is only noted that the device was seen; the next request connects anew."""
    Device.objects.update(last_seen_at=dt.datetime(2020, 1, 1, tzinfo=dt.UTC))

    with session_setting("default_transaction_read_only", "on"):
        assert_unavailable(alice.send("GET", PULL))
        assert alice.send("GET", PULL).status_code == 200


def test_a_session_that_idled_too_long_is_a_503(alice: Phone, order_id: str) -> None:
    """A worker was frozen in mid-push; an operator's time-out ended its session (25P03)."""
    with session(autocommit=True) as watcher:

        def freeze() -> None:
            with connection.cursor() as cursor:
                cursor.execute("SET idle_in_transaction_session_timeout = 1")
                pid = connection.connection.info.backend_pid
            wait_until(
                lambda: (
                    not watcher.execute(
                        "SELECT FROM pg_stat_activity WHERE pid = %s", [pid]
                    ).fetchall()
                )
            )

        with at(Point.APPLIED, freeze):
            answer = edit(alice, order_id)

    assert_unavailable(answer)
    assert_untouched_and_free(alice, order_id)
