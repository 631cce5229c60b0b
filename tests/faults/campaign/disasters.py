"""Disasters: what happens to servers, PostgreSQL and Valkey while people work; each by its name.

Each is carried out once in a round, and leaves everything in order.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

import psycopg
import redis

from sync.failpoints import Point
from tests.faults.campaign.disk import filled
from tests.faults.campaign.stage import Stage

Disaster = Callable[[Stage, random.Random], None]
STOPPED_S: Final = 20.0
HELD_S: Final = 1.5
CATCH_S: Final = 1.0
SEGMENTS: Final = 12  # of the write-ahead log
CATCHES: Final = 3
JUMPS_S: Final = (3_600.0, -3_600.0, 72_000.0, -900_000.0)  # forward, less than tokens live
SESSIONS = """
SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'
AND usename = session_user AND pid <> pg_backend_pid() AND datname = current_database()
"""

DISASTERS: dict[str, Disaster] = {}
DISK: Final = "disk is full"  # takes a stage of its own


def disaster(work: Disaster) -> Disaster:
    """Enter a disaster under its name."""
    DISASTERS[work.__name__.replace("_", " ")] = work
    return work


@disaster
def worker_is_killed(stage: Stage, rng: random.Random) -> None:
    """SIGKILL at a named step of a push; the retry finds nothing done, or all of it."""
    server = stage.arm()
    stage.lead_to(server)
    try:
        for _ in range(CATCHES):
            with suppress(TimeoutError, ProcessLookupError):
                stage.control.catch(rng.choice(list(Point))).wait(CATCH_S).kill()
        stage.control.release()
    finally:
        stage.lead_to(stage.server)


@disaster
def server_is_replaced(stage: Stage, rng: random.Random) -> None:
    """A rolling restart: the new one takes over, the old one ends what it is at."""
    del rng
    stage.restart_server()


@disaster
def session_is_ended(stage: Stage, rng: random.Random) -> None:
    """PostgreSQL ends sessions in the middle of whatever they do."""
    for _ in range(CATCHES):
        with stage.connect() as session:
            session.execute(f"SELECT pg_terminate_backend(pid) FROM ({SESSIONS}) AS s")
        _wait(rng.random() * 0.3)


@disaster
def backend_is_killed(stage: Stage, rng: random.Random) -> None:
    """SIGKILL to one backend: PostgreSQL throws all out, and recovers."""
    with stage.connect() as session:
        pids = [int(str(pid)) for (pid,) in session.execute(SESSIONS).fetchall()]
    if pids:
        os.kill(rng.choice(pids), signal.SIGKILL)


@disaster
def postgres_is_killed(stage: Stage, rng: random.Random) -> None:
    """It ends without a word, and is started again; fsync is on."""
    del rng
    stage.postgres.restart(crash=True)


@disaster
def postgres_stands_still(stage: Stage, rng: random.Random) -> None:
    """All of its processes are stopped for a while, and go on."""
    del rng
    with stage.frozen(stage.postgres.pid):
        _wait(STOPPED_S)


@disaster
def redis_is_down(stage: Stage, rng: random.Random) -> None:
    """It ends, and comes back empty."""
    del rng
    stage.valkey.stop()
    _wait(HELD_S)
    stage.valkey.restart()


@disaster
def redis_hangs(stage: Stage, rng: random.Random) -> None:
    """It takes connections, and answers nothing."""
    del rng
    with stage.frozen(stage.valkey.pid):
        _wait(HELD_S)


@disaster
def redis_is_flushed(stage: Stage, rng: random.Random) -> None:
    """All that it held is gone."""
    del rng
    with redis.Redis.from_url(stage.valkey.url) as session:
        session.flushall()


@disaster
def no_connection_is_left(stage: Stage, rng: random.Random) -> None:
    """Others have all of PostgreSQL's connections; servers must make new ones."""
    del rng
    with stage.connect() as ours, ExitStack() as held:
        with suppress(psycopg.OperationalError):
            while True:  # ends: when PostgreSQL has no more
                held.enter_context(psycopg.connect(stage.postgres.url, connect_timeout=2))
        ours.execute(f"SELECT pg_terminate_backend(pid) FROM ({SESSIONS} LIMIT 8) AS s")
        _wait(HELD_S)


@disaster
def stream_is_locked(stage: Stage, rng: random.Random) -> None:
    """Somebody else holds the lock of every tenant's stream."""
    with _transaction(stage) as session:
        session.execute("SELECT 1 FROM sync_stream ORDER BY tenant_id FOR UPDATE")
        _wait(HELD_S * rng.random())


@disaster
def rows_are_locked(stage: Stage, rng: random.Random) -> None:
    """Somebody else holds the locks of all work orders: pushes wait until they may not."""
    with _transaction(stage) as session:
        session.execute("SELECT 1 FROM work_order ORDER BY id FOR UPDATE")
        _wait(HELD_S * 4 * rng.random())


@disaster
def transaction_stays_open(stage: Stage, rng: random.Random) -> None:
    """A transaction that has written, and does not end: the feed must not wait for it."""
    with _transaction(stage) as session:
        session.execute("CREATE TABLE left_open (id int)")
        _wait(HELD_S * 2 * rng.random())
        session.execute("ROLLBACK")


@disaster
def clock_jumps(stage: Stage, rng: random.Random) -> None:
    """The servers' clocks are off, and come right again."""
    for _ in range(CATCHES):
        stage.clock.write_text(str(rng.choice(JUMPS_S)))
        _wait(HELD_S / 3)
    stage.clock.write_text("0")


@disaster
def feed_is_pruned(stage: Stage, rng: random.Random) -> None:
    """Tombstones go, as young as they are, and the tables are vacuumed."""
    del rng
    stage.prune(times=CATCHES)


@disaster
def server_is_restored(stage: Stage, rng: random.Random) -> None:
    """The database is that of the round's beginning again: a new epoch for everybody."""
    del rng
    stage.restore()


@disaster
def disk_is_full(stage: Stage, rng: random.Random) -> None:
    """PostgreSQL cannot write a byte more, gives up, and is started again when there is room."""
    if stage.disk is None:
        message = "this stage has no small disk"
        raise RuntimeError(message)
    with filled(stage.disk):
        for _ in range(SEGMENTS):  # those that it has in reserve would do for long
            with suppress(psycopg.Error), psycopg.connect(str(stage.postgres.admin_url)) as admin:
                admin.execute("SELECT pg_switch_wal()")
            _wait(rng.random() * HELD_S / 5)
    stage.postgres.restart(crash=True)


@contextmanager
def _transaction(stage: Stage) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with psycopg.connect(stage.postgres.owner_url) as session:
        yield session
        session.rollback()


def _wait(seconds: float) -> None:
    threading.Event().wait(seconds)
