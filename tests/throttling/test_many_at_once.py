"""Exactly as many pass as may, of any number at once, over all processes of a server."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from urllib.parse import urlsplit

import httpx2
import pytest
from django.db import connection

from backend.devstack.server import start_server
from backend.devstack.valkey import Valkey
from backend.throttling.meter import Meter
from backend.throttling.rates import Window
from tests.phones import make_world
from tests.throttling.conftest import render

LIMIT, AT_ONCE, THREADS = 20, 200, 20
CROWD, EACH, KEYS = 40, 5, 10
TIMEOUT_S = 60.0


@pytest.mark.django_db(transaction=True)
def test_two_processes_let_exactly_the_limit_through(tmp_path: Path, valkey: Valkey) -> None:
    """Two hundred requests of one device at two servers on one Redis."""
    alice = make_world("wales").hire()
    database = urlsplit(os.environ["DATABASE_URL"])._replace(path=connection.settings_dict["NAME"])
    environ = {
        "DATABASE_URL": database.geturl(),
        "DJANGO_SETTINGS_MODULE": "tests.throttling.served",
        "RATES_FOR_TEST": render(device=f"{LIMIT}/1d"),
        "REDIS_URL": valkey.url,
    }
    servers = [
        start_server(environ=environ, log=tmp_path / f"{number}.log") for number in range(2)
    ]
    headers = {"Authorization": f"Bearer {alice.token}"}

    def ask(number: int) -> int:
        url = f"{servers[number % 2].url}/api/v1/sync/limits"
        return httpx2.get(url, headers=headers, timeout=TIMEOUT_S).status_code

    try:
        with ThreadPoolExecutor(THREADS) as threads:
            found = list(threads.map(ask, range(AT_ONCE)))
    finally:
        for server in servers:
            server.stop()

    logs = "".join((tmp_path / f"{number}.log").read_text() for number in range(2))
    assert set(found) == {200, 429}, logs[logs.find("Traceback") :][:6_000]
    assert found.count(200) == LIMIT
    assert found.count(429) == AT_ONCE - LIMIT


def test_counts_are_exact_of_any_number_at_once(valkey: Valkey) -> None:
    """Key after key, all threads of two processes' meters at the same moment."""
    meters = [Meter(valkey.url), Meter(valkey.url)]
    window, start = Window(LIMIT, 86_400), Barrier(CROWD)

    def ask(number: int) -> list[bool]:
        passed = []
        for key in range(KEYS):
            start.wait(TIMEOUT_S)
            found = [meters[number % 2].count(f"key-{key}", window) for _ in range(EACH)]
            passed += [count.left >= 0 for count in found]
        return passed

    with ThreadPoolExecutor(CROWD) as threads:
        found = [passed for each in threads.map(ask, range(CROWD)) for passed in each]

    assert found.count(True) == LIMIT * KEYS
    assert len(found) == CROWD * EACH * KEYS
