"""A server on a real port with the demo's data, and SDK clients with stores on disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core.management import call_command
from django.db import connection

import fieldsync
from backend.devstack.server import Server, start_server

Make = Callable[..., fieldsync.Client]


@pytest.fixture
def seeded(transactional_db: None) -> None:
    call_command("seed_demo", yes=True, verbosity=0)


@pytest.fixture
def phone(seeded: None, live_server: Any, tmp_path: Path) -> Iterator[Make]:
    """Return the maker of logged-in clients."""
    clients: list[fieldsync.Client] = []

    def make(
        username: str, *, url: str | None = None, store: str | None = None, **options: Any
    ) -> fieldsync.Client:
        path = tmp_path / f"{store or len(clients)}.db"
        client = fieldsync.Client(url or live_server.url, store=path, **options)
        clients.append(client)
        client.login(username, "fieldsync")
        return client

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def server(transactional_db: None, tmp_path: Path) -> Iterator[Server]:
    """Return a web server as it is in production, in a process of its own, on the tests' database."""
    database = urlsplit(os.environ["DATABASE_URL"])._replace(path=connection.settings_dict["NAME"])
    server = start_server(
        environ={
            "DATABASE_URL": database.geturl(),
            "DJANGO_SETTINGS_MODULE": "backend.settings.test",
        },
        log=tmp_path / "server.log",
    )
    yield server
    server.stop()
