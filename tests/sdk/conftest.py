"""Phones and a server for the SDK's tests."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

# The reference server lies beside the tests, which are no package.
sys.path.insert(0, str(Path(__file__).parent))

from reference_server import ReferenceServer

import fieldsync

if TYPE_CHECKING:
    from collections.abc import Iterator


class Phone:
    """A device whose process can be killed and started again at any point."""

    def __init__(self, server: ReferenceServer, path: Path, **options: Any) -> None:
        self.server = server
        self.path = path
        self.options = options
        self.waits: list[float] = []
        self.client = self._start()

    def _start(self) -> fieldsync.Client:
        options = {
            "http": self.server.client(),
            "sleep": self.waits.append,
            "rng": random.Random(1),
            **self.options,
        }
        return fieldsync.Client("http://server", store=self.path, **options)

    def login(self, username: str = "tess") -> Phone:
        """Log in and return the phone."""
        self.client.login(username, "fieldsync")
        return self

    def restart(self) -> None:
        """The process dies and starts again on the same store."""
        self.client.close()
        self.client = self._start()

    def __getitem__(self, collection: str) -> fieldsync.Collection:
        return self.client.collection(collection)

    def sync(self) -> fieldsync.SyncReport:
        """Push and pull."""
        return self.client.sync()

    def view(self, collection: str) -> dict[str, dict[str, Any]]:
        """The local view, by id."""
        return {row.id: row.data for row in self[collection].all()}


@pytest.fixture
def server() -> ReferenceServer:
    """An empty server."""
    return ReferenceServer()


@pytest.fixture
def new_phone(server: ReferenceServer, tmp_path: Path) -> Iterator[Any]:
    """Makes phones on this server."""
    phones: list[Phone] = []

    def make(username: str | None = "tess", **options: Any) -> Phone:
        phone = Phone(server, tmp_path / f"phone-{len(phones)}.db", **options)
        phones.append(phone)
        return phone.login(username) if username else phone

    yield make
    for phone in phones:
        phone.client.close()


@pytest.fixture
def phone(new_phone: Any) -> Phone:
    """A phone on which tess is logged in."""
    return new_phone()


@pytest.fixture
def second(new_phone: Any) -> Phone:
    """Another phone of tess."""
    return new_phone()
