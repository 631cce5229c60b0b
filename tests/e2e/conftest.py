"""A server on a real port with the demo's data, and SDK clients with stores on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

import fieldsync

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
