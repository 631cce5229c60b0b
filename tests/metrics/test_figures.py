"""`/metrics`: figures that are those of what happened, in all processes of a server."""

from __future__ import annotations

import datetime as dt
import os
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import psutil  # type: ignore[import-untyped]
import pytest
from django.db import DatabaseError, connection
from django.test import Client

from backend.accounts import readings
from backend.accounts.models import Device
from backend.accounts.services import SEEN_EVERY
from backend.devstack.server import Server, start_server
from backend.metrics import database, processes
from backend.throttling.rates import parse_rates
from backend.throttling.throttle import forget_meter
from sync.clock import utc_now
from sync.models import Receipt
from tests.desk import turn_on
from tests.phones import Phone, World, create, make_world, new_id, update

TOKEN = "a-token-of-some-length-that-nobody-guesses"
LINE = re.compile(r"^(\w+)(?:\{(.*)\})? ([0-9.e+-]+|NaN)$", re.MULTILINE)
PUSHES, WORKERS = 24, 2
GONE_S = 20.0


@pytest.fixture(autouse=True)
def open_page(settings: Any) -> None:
    settings.METRICS_TOKEN = TOKEN


def read(text: str) -> dict[tuple[str, str], float]:
    """Return each figure by its name and labels."""
    return {(name, labels): float(value) for name, labels, value in LINE.findall(text)}


def figures() -> dict[tuple[str, str], float]:
    answer = Client().get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    return read(answer.content.decode())


def grown(before: dict[Any, float], name: str, labels: str = "") -> float:
    """Return by how much a figure has grown since."""
    return figures().get((name, labels), 0) - before.get((name, labels), 0)


@pytest.mark.parametrize("token", ["", "Bearer", "Bearer x", f"Bearer {TOKEN}x", TOKEN[:-1]])
def test_page_is_there_for_its_token_alone(db: None, token: str, settings: Any) -> None:
    """Who knows a tenant's name and pace knows a customer."""
    assert Client().get("/metrics", headers={"Authorization": token}).status_code == 404
    settings.METRICS_TOKEN = ""
    for nothing in ("", "Bearer "):
        assert Client().get("/metrics", headers={"Authorization": nothing}).status_code == 404


def test_rows_are_counted_by_what_became_of_them(wales: World) -> None:
    tess = wales.hire()
    before = figures()
    row_id, key = new_id(), new_id()
    good, bad = create("work_orders", row_id, **wales.order()), create("work_orders")

    for _ in range(2):
        tess.push(good, bad, key=key)
    tess.push(update("work_orders", row_id, 1, title="A"))
    tess.push(update("work_orders", row_id, 1, title="B"))

    def rows(outcome: str) -> float:
        labels = f'collection="work_orders",outcome="{outcome}"'
        return grown(before, "fieldsync_rows_total", labels)

    assert [rows(each) for each in ("created", "invalid", "updated", "conflict")] == [1, 1, 1, 1]
    assert grown(before, "fieldsync_replays_total") == 1
    assert grown(before, "fieldsync_pushes_total", 'status="200"') == 4
    route = 'method="POST",route="api/v1/sync/push",status="200"'
    assert grown(before, "fieldsync_request_seconds_count", route) == 4


def test_edit_of_one_row_is_counted_too(wales: World) -> None:
    dora = wales.hire("dispatcher")
    before = figures()

    dora.send("POST", "/api/v1/work-orders/", wales.order())

    labels = 'collection="work_orders",outcome="created"'
    assert grown(before, "fieldsync_rows_total", labels) == 1


def test_throttled_requests_are_counted_by_scope(wales: World, settings: Any) -> None:
    settings.THROTTLE_RATES = settings.THROTTLE_RATES | parse_rates("device=1/1m")
    forget_meter()
    tess = wales.hire()
    before = figures()

    for _ in range(3):
        tess.send("GET", "/api/v1/sync/limits")

    assert grown(before, "fieldsync_throttled_total", 'scope="device"') == 2
    forget_meter()


def test_feeds_are_told_by_tenant(wales: World, northwind: World) -> None:
    turn_on(wales)
    tess = wales.hire()
    tess.push(create("work_orders", title=""))

    found = figures()

    assert found["fieldsync_quarantine_open", 'tenant="wales"'] == 1
    assert found["fieldsync_quarantine_open", 'tenant="northwind"'] == 0
    assert found["fieldsync_devices", 'tenant="wales"'] == 1
    assert found["fieldsync_devices_silent", 'tenant="wales"'] == 0
    before = found["fieldsync_feed_head", 'tenant="wales"']
    tess.push(create("work_orders", **wales.order()))
    assert figures()["fieldsync_feed_head", 'tenant="wales"'] == before + 1
    assert found["fieldsync_database_sessions_max", ""] >= found["fieldsync_database_sessions", ""]
    assert found["fieldsync_oldest_transaction_seconds", ""] >= 0


def test_phones_that_are_behind_or_silent_with_work_show(wales: World) -> None:
    """What an operator wants to see at a glance: does work get through, both ways?"""
    readings.forget()
    ann, bob = wales.hire(), wales.hire()
    for phone in (ann, bob):
        phone.send("GET", "/api/v1/sync/pull", **{"X-Outbox-Rows": "3"})
    before = Device.objects.get(pk=ann.device_id).read_seq
    for _ in range(4):
        ann.push(create("work_orders", **wales.order()))
    readings.forget()
    assert ann.pull_page(limit=1)["has_more"]
    assert Device.objects.get(pk=ann.device_id).read_seq == before, "it has not read all"
    ann.pull()

    assert figures()["fieldsync_pull_lag_changes", 'tenant="wales"'] == 4  # Bob's
    Device.objects.update(last_seen_at=utc_now() - 2 * SEEN_EVERY)
    ann.send("GET", "/api/v1/sync/limits", **{"X-Outbox-Rows": "0"})
    bob.send("GET", "/api/v1/sync/limits", **{"X-Outbox-Rows": "17"})
    Device.objects.update(last_seen_at=utc_now() - dt.timedelta(days=2))
    found = figures()
    assert found["fieldsync_devices_silent", 'tenant="wales"'] == 2
    assert found["fieldsync_devices_silent_with_work", 'tenant="wales"'] == 1
    assert found["fieldsync_pull_lag_changes", 'tenant="wales"'] == 0, "who is away reads nothing"


def test_what_should_have_been_pruned_shows(wales: World, settings: Any) -> None:
    wales.hire().push(create("work_orders", **wales.order()))
    assert figures()["fieldsync_receipts_overdue_seconds", ""] == 0

    Receipt.objects.update(created_at=utc_now() - dt.timedelta(days=93))

    overdue_s = figures()["fieldsync_receipts_overdue_seconds", ""]
    assert overdue_s == pytest.approx(3 * 86_400, abs=600)


def test_database_that_is_away_takes_its_own_figures_along_only(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise DatabaseError

    monkeypatch.setattr(database, "_ask", refuse)

    found = figures()

    assert ("fieldsync_replays_total", "") in found
    assert not any(name.startswith("fieldsync_database") for name, _ in found)


def test_cost_of_a_scrape_does_not_grow_with_tenants(
    wales: World, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(4):
        figures()
    make_world("northwind")
    with django_assert_num_queries(4):
        figures()


# --- several processes ------------------------------------------------------------------------


@pytest.fixture
def served(transactional_db: None, tmp_path: Path) -> Iterator[Server]:
    name = connection.settings_dict["NAME"]
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=name)
    environ = {
        "DATABASE_URL": url.geturl(),
        "DJANGO_SETTINGS_MODULE": "backend.settings.test",
        "METRICS_TOKEN": TOKEN,
    }
    server = start_server(environ=environ, log=tmp_path / "log", workers=WORKERS)
    yield server
    server.stop()


def scrape(server: Server) -> dict[tuple[str, str], float]:
    """Read the page over a connection of its own: any process may answer."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    return read(httpx2.get(f"{server.url}/metrics", headers=headers).text)


def push_once(server: Server, phone: Phone, world: World) -> int:
    body = {"policy": "per_row", "mutations": [create("work_orders", **world.order())]}
    headers = {"Authorization": f"Bearer {phone.token}", "Idempotency-Key": new_id()}
    return httpx2.post(f"{server.url}/api/v1/sync/push", json=body, headers=headers).status_code


def test_figures_are_those_of_all_processes(served: Server, tmp_path: Path) -> None:
    """Also of one that has died; whoever is asked."""
    wales = make_world("wales")
    tess = wales.hire()
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda _: push_once(served, tess, wales), range(PUSHES)))
    assert done == [200] * PUSHES

    labels = 'collection="work_orders",outcome="created"'
    for _ in range(WORKERS * 3):
        assert scrape(served)["fieldsync_rows_total", labels] == PUSHES
        assert scrape(served)["fieldsync_queue_length", ""] == 0

    workers = [
        child
        for child in psutil.Process(served.child.pid).children(recursive=True)
        if any("spawn_main" in part for part in child.cmdline())
    ]
    workers[0].send_signal(signal.SIGKILL)
    workers[0].wait(GONE_S)
    deadline = time.monotonic() + GONE_S
    while time.monotonic() < deadline:
        try:
            assert push_once(served, tess, wales) == 200
            break
        except httpx2.HTTPError:
            time.sleep(0.1)
    assert scrape(served)["fieldsync_rows_total", labels] == PUSHES + 1
    assert len(list((tmp_path / "log.figures").glob("counter_*.db"))) >= WORKERS


def test_what_dead_servers_left_is_taken_away(tmp_path: Path) -> None:
    gone, mine = tmp_path / f"{processes.PREFIX}999999999", tmp_path / f"{processes.PREFIX}1"
    for folder in (gone, mine):
        folder.mkdir()
        (folder / "counter_999999999.db").write_bytes(b"x")
        (folder / "gauge_livesum_999999999.db").write_bytes(b"x")
        (folder / f"gauge_livesum_{os.getpid()}.db").write_bytes(b"x")
    processes._tidy(tmp_path, mine)

    assert not gone.exists()
    assert {file.name for file in mine.iterdir()} == {
        "counter_999999999.db", f"gauge_livesum_{os.getpid()}.db",
    }  # fmt: skip
