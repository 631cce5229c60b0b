"""Exactly as many pass as may, of any number at once, over all processes of a server."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from django.db import connection

from backend.devstack.server import start_server
from backend.devstack.valkey import Valkey
from tests.phones import make_world
from tests.throttling.conftest import render

LIMIT, AT_ONCE, THREADS = 20, 200, 20
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
