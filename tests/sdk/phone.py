"""A phone: a device whose process can be killed and started again at any point."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import fieldsync
from fieldsync.drivers import drive
from fieldsync.engine.rounds import Rounds
from fieldsync.retry import RetryBudget, RetryPolicy
from fieldsync.testing import FakeServer


class Phone:
    """A device whose process can be killed and started again at any point."""

    def __init__(self, server: FakeServer, path: Path, **options: Any) -> None:
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

    def share_store_of(self, phone: Phone) -> None:
        """Start on the store of another one, as where somebody has deleted the lock file."""
        self.client.close()
        self.path = phone.path
        phone.path.with_name(f"{phone.path.name}.lock").unlink()
        self.client = self._start()

    def __getitem__(self, collection: str) -> fieldsync.Collection[fieldsync.Row]:
        return self.client.collection(collection)

    def sync(self) -> fieldsync.SyncReport:
        """Push and pull."""
        return self.client.sync()

    def push(self) -> None:
        """Push alone."""
        drive(self._rounds._push.run(*self._round(), held_groups=tuple), self.client._outside)

    def pull(self) -> bool:
        """Pull alone; whether it came to its end."""
        return drive(self._rounds._pull.run(*self._round()), self.client._outside)

    @property
    def _rounds(self) -> Rounds:
        return self.client._engine._rounds

    def _round(self) -> tuple[RetryBudget, fieldsync.SyncReport]:
        return RetryBudget(RetryPolicy(), random.Random(1)), fieldsync.SyncReport()

    def view(self, collection: str) -> dict[str, dict[str, Any]]:
        """The local view, by id."""
        return {row.id: row.data for row in self[collection].all()}
