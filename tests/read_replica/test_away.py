"""A replica that dies, refuses, or does not come to an end: the primary answers, at once."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
from django.db import ProgrammingError, connections

from sync import read_replica
from sync.read_replica import Answer, Rest
from tests.crowd import at_once
from tests.faults.rig import wait_until
from tests.phones import Phone, World, create
from tests.read_replica.pair import Pair, connected, pages_read, source_of, truth
from tests.scenarios.test_stream import lines_of, open_stream, read

LOCK = "LOCK TABLE sync_entry IN ACCESS EXCLUSIVE MODE"
# Only a replica is slow.
SLOW = """
SELECT pg_is_in_recovery() FROM (SELECT count(*) FROM sync_entry) AS counted,
    (SELECT pg_sleep(CASE WHEN pg_is_in_recovery() THEN 600 ELSE 0 END)) AS nap
"""
SLEEPING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
PLAIN = "?sslmode=disable&gssencmode=disable"  # one try is one connection


@pytest.fixture
def rested(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next pull try again what has just failed."""
    monkeypatch.setattr(read_replica, "REST_S", 0.0)


@pytest.fixture
def unrested(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no rest come to its end."""
    monkeypatch.setattr(read_replica, "REST_S", 1e6)


@pytest.fixture
def twenty(pair: Pair, dora: Phone, wales: World) -> None:
    dora.push(*(create("work_orders", **wales.order()) for _ in range(20)))
    pair.replica.catch_up()


@contextmanager
def dead_host() -> Iterator[list[int]]:
    """Listen where a replica should be, and hang up on whoever comes; yield port and visits."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        seen = [listener.getsockname()[1], 0]

        def hang_up() -> None:
            while True:
                try:
                    visitor, _ = listener.accept()
                except OSError:
                    return
                seen[1] += 1
                visitor.close()

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        yield seen
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(60)


def test_stream_goes_on_when_the_replica_dies(
    pair: Pair, alice: Phone, twenty: None, rested: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a first sync: no line is lost, and its return is noticed, for good."""

    def between(chunks: int) -> None:
        if chunks == 2:
            pair.replica.stop(crash=True)

    try:
        with pages_read() as read_from:
            body = b"".join(read(open_stream(alice, "limit=3"), between))
    finally:
        pair.replica.restart()
    lines = lines_of(body, alice)

    rows = {(line["collection"], line["id"]) for line in lines if "op" in line}
    assert rows == truth(alice).keys()
    assert lines[-1]["has_more"] is False
    assert read_from["replica"] >= 2
    assert read_from["default"] >= 2

    pair.replica.catch_up()
    monkeypatch.setattr(read_replica, "REST_S", 1e6)
    with pages_read() as read_from:
        for _ in range(2):
            alice.cursor = None
            alice.pull()

    assert read_from == {"replica": 2}


def test_replica_that_fails_is_left_alone(
    pair: Pair, alice: Phone, twenty: None, unrested: None
) -> None:
    """To connect to a host that is gone may take seconds: not in every pull."""
    with (
        dead_host() as seen,
        connected(pair.primary.url, f"postgresql://u:p@127.0.0.1:{seen[0]}/x{PLAIN}"),
    ):
        for _ in range(5):
            alice.cursor = None
            alice.pull()

        assert seen[1] == 1
        assert alice.rows == truth(alice)


def test_replica_is_tried_again_after_a_rest(
    pair: Pair, alice: Phone, twenty: None, rested: None
) -> None:
    """Else it would be left alone for ever."""
    with (
        dead_host() as seen,
        connected(pair.primary.url, f"postgresql://u:p@127.0.0.1:{seen[0]}/x{PLAIN}"),
    ):
        for _ in range(5):
            alice.cursor = None
            alice.pull()

        assert seen[1] == 5


def test_after_a_rest_one_thread_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are answered by the primary, and do not wait for a host that may be gone."""
    rest = Rest()
    assert rest.is_over()
    monkeypatch.setattr(read_replica, "REST_S", 0.0)
    rest.begin(OSError("gone"))
    monkeypatch.setattr(read_replica, "REST_S", 1e6)

    tries = at_once([rest.is_over] * 8)

    assert sorted(tries) == [False] * 7 + [True]
    rest.end()
    assert rest.is_over()


def test_replica_that_keeps_a_page_waiting_is_not_waited_for(
    pair: Pair, alice: Phone, twenty: None
) -> None:
    """It stands still in the middle of a migration that the primary has finished: a table is locked."""
    with psycopg.connect(pair.primary.owner_url) as migration:
        migration.execute(LOCK)
        pair.on_primary("UPDATE sync_stream SET moves = moves")  # writes the lock's record too
        pair.replica.catch_up()
        pair.replica.pause()
    soon = "?options=-c%20statement_timeout%3D100"

    with connected(pair.primary.url, pair.replica.url + soon), pages_read() as read_from:
        alice.pull()

        assert alice.rows == truth(alice)
    assert read_from["default"] >= 1


def test_page_that_replay_cancels_comes_from_the_primary(
    pair: Pair, wales: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Replay does not wait for ever for those who read what it must change."""
    pair.replica.catch_up()
    admin = psycopg.connect(pair.replica.admin_url or "", autocommit=True)

    def fetch() -> Answer:
        try:
            return source_of(wales).fetch(SLOW, {}, place=4)
        finally:
            connections.close_all()

    with admin, ThreadPoolExecutor(1) as pool:
        admin.execute("ALTER SYSTEM SET max_standby_streaming_delay = 0")
        admin.execute("SELECT pg_reload_conf()")
        try:
            fetching = pool.submit(fetch)
            wait_until(lambda: admin.execute(SLEEPING).fetchone() == (1,))
            pair.on_primary(LOCK)
            answer = fetching.result(60)
        finally:
            admin.execute("ALTER SYSTEM RESET max_standby_streaming_delay")
            admin.execute("SELECT pg_reload_conf()")

    assert answer == ([(False,)], None)
    assert "conflict with recovery" in caplog.text


def test_replica_that_has_not_got_a_migration_yet_is_no_error(pair: Pair, wales: World) -> None:
    """The server is started on the new tables, and the replica is a moment behind."""
    pair.replica.catch_up()
    pair.replica.pause()
    pair.on_primary("CREATE TABLE newest (n int)")
    try:
        answer = source_of(wales).fetch("SELECT count(*) FROM newest", {}, place=4)
    finally:
        pair.on_primary("DROP TABLE newest")

    assert answer == ([(0,)], None)


def test_statement_that_is_wrong_is_told_by_the_primary(pair: Pair, wales: World) -> None:
    """A mistake of ours must not be taken for a replica's for ever."""
    pair.replica.catch_up()

    with pytest.raises(ProgrammingError, match="nothing_there"):
        source_of(wales).fetch("SELECT nothing_there", {}, place=4)
