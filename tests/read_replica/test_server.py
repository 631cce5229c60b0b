"""The real server with a replica beside its database: processes, HTTP, and nothing in between."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from django.core.management import call_command

from backend.devstack.listeners import find_free_port
from backend.devstack.server import start_server
from tests.faults.rig import SITE, Reply, WireCaller, push_body, wait_until
from tests.phones import PULL, create
from tests.read_replica.pair import Pair

THREADS = 2
PAGE_ROWS = 10
READS = "SELECT coalesce(idx_scan, 0) FROM pg_stat_user_tables WHERE relname = 'sync_entry'"
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'fieldsync'"


@contextmanager
def serving(pair: Pair, replica_url: str, log: Path) -> Iterator[WireCaller]:
    """Run the server; yield the dispatcher's phone."""
    server = start_server(
        environ={
            "DATABASE_URL": pair.primary.url,
            "DATABASE_REPLICA_URL": replica_url,
            "DJANGO_SETTINGS_MODULE": "backend.settings.test",
            "REDIS_URL": "",
            "WORKER_THREADS": str(THREADS),
        },
        log=log,
    )
    try:
        dora = WireCaller(url=server.url)
        dora.log_in("dora", install_id="dora-1")
        yield dora
    finally:
        server.stop()


@pytest.fixture
def seeded(pair: Pair) -> None:
    call_command("seed_demo", yes=True, verbosity=0)
    pair.replica.catch_up()


def on_replica(pair: Pair, query: str) -> int:
    with psycopg.connect(pair.replica.admin_url or "") as session:
        row = session.execute(query.encode()).fetchone()
    assert row
    return int(row[0])


def pull(phone: WireCaller, cursor: str = "") -> Reply:
    reply = phone.send("GET", f"{PULL}?limit={PAGE_ROWS}&cursor={cursor}")
    assert reply.status == 200, reply.body
    return reply


def pull_all(phone: WireCaller, cursor: str = "") -> tuple[list[str], str]:
    ids: list[str] = []
    for _ in range(100):
        page = pull(phone, cursor).json
        ids += [change["id"] for change in page["changes"]]
        cursor = page["cursor"]
        if not page["has_more"]:
            return ids, cursor
    raise AssertionError("the pages of this pull never end")


def push_one(phone: WireCaller) -> str:
    order = create("work_orders", kind="repair", site=SITE, title="x")
    assert phone.push(push_body([order]), str(uuid.uuid4())).status == 200
    return str(order["id"])


def test_server_reads_pages_on_its_replica(pair: Pair, seeded: None, tmp_path: Path) -> None:
    """By nothing but DATABASE_REPLICA_URL; each thread keeps one session there."""
    before = on_replica(pair, READS)

    with serving(pair, pair.replica.url, tmp_path / "log") as dora:
        ids, _ = pull_all(dora)
        pages = len(ids) // PAGE_ROWS
        assert pages >= 2

        def is_read() -> bool:  # a replica that was slow for once is left alone for a while
            pull_all(dora)
            return on_replica(pair, READS) >= before + pages

        wait_until(is_read)
        assert 1 <= on_replica(pair, SESSIONS) <= THREADS


def test_phone_does_not_notice_that_the_replica_lags_and_dies(
    pair: Pair, seeded: None, tmp_path: Path
) -> None:
    """What was pushed is pulled, by whichever of the two."""
    with serving(pair, pair.replica.url, tmp_path / "log") as dora:
        _, cursor = pull_all(dora)
        pair.replica.pause()
        written = push_one(dora)
        lagging, cursor = pull_all(dora, cursor)
        pair.replica.stop(crash=True)
        try:
            later = push_one(dora)
            dead, _ = pull_all(dora, cursor)
            everything, _ = pull_all(dora)
        finally:
            pair.replica.restart()

    assert lagging == [written]
    assert dead == [later]
    assert {written, later} <= set(everything)


def test_server_starts_without_its_replica(pair: Pair, seeded: None, tmp_path: Path) -> None:
    """It is an aid: when it is away, all goes on, slower."""
    nobody = f"postgresql://u:p@127.0.0.1:{find_free_port()}/x"

    with serving(pair, nobody, tmp_path / "log") as dora:
        ids, _ = pull_all(dora)

    assert len(ids) > 2 * PAGE_ROWS
    assert "left alone" in (tmp_path / "log").read_text()
