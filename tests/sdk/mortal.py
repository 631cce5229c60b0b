"""A phone that can die anywhere: what is on its disk at that moment is all that is left of it.

    kill -> the store's files, copied as they are -> another process starts on the copy

No line of the old process runs any more that could put something right: its rollbacks, and
whatever else it still does, are done to files that nobody reads again.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from phone import Phone

from fieldsync.drivers import _ENDED, _Walk
from fieldsync.errors import FieldsyncError, TransportFailure
from fieldsync.testing import FakeServer

TODAY = datetime(2026, 11, 27, 8, 0, tzinfo=UTC)
INSTRUCTIONS = 10  # of SQLite's machine: so often it asks whether to go on
_copies = itertools.count()


@dataclass(frozen=True, slots=True)
class Backup:
    """A copy of a phone's store, and whose it was."""

    path: Path
    user: str


class MortalPhone(Phone):
    """A phone of `user` with a clock of its own. `ahead` is how far that is from the right time."""

    def __init__(self, server: FakeServer, path: Path, **options: Any) -> None:
        self.user = "tess"
        self.ahead = timedelta()
        self.backup: Backup | None = None
        super().__init__(server, path, now=lambda: TODAY + self.ahead, **options)

    def copy_store(self) -> Path:
        """The store's files as they are on the disk now, at another place."""
        target = self.path.with_name(f"copy-{next(_copies)}.db")
        for suffix in ("", "-wal"):
            source = Path(f"{self.path}{suffix}")
            if source.exists():
                shutil.copyfile(source, f"{target}{suffix}")
        return target

    def start_on(self, path: Path) -> None:
        """Let another process start on the store at `path`."""
        self.client.close()
        self.path = path
        self.client = self._start()

    def die(self) -> None:
        """Be killed now, and started again."""
        self.start_on(self.copy_store())

    def save(self) -> None:
        """Make a backup of the store."""
        self.backup = Backup(self.copy_store(), self.user)

    @contextmanager
    def dying_after(self, asked: int) -> Iterator[None]:
        """Be killed in the middle of a statement, when SQLite has asked so often, if it does."""
        left: list[Path] = []
        countdown = iter(range(asked, -1, -1))

        def is_over() -> bool:
            is_due = next(countdown, 0) == 0
            if left or not is_due:
                return False
            left.append(self.copy_store())
            return True

        connection = self.client._engine._store.writer._connection
        connection.set_progress_handler(is_over, INSTRUCTIONS)
        try:
            yield
        finally:
            connection.set_progress_handler(None, 0)
            self.start_on(left[0] if left else self.copy_store())

    def sync_until(self, effects: int, *, is_answered: bool) -> None:
        """Sync, but be killed at that effect: before it, or behind its answer."""
        steps = self.client._engine.sync(held_groups=self.client._held_groups)
        try:
            self._walk(_Walk(steps), effects, self.client._outside.carry_out, is_answered)
        except FieldsyncError:
            pass
        self.die()
        steps.close()

    @staticmethod
    def _walk(
        walk: _Walk, effects: int, carry_out: Callable[[Any], Any], is_answered: bool
    ) -> None:
        for at in range(effects + 1):
            effect = walk.next()
            if effect is _ENDED or (at == effects and not is_answered):
                return
            try:
                walk.take(effect, carry_out(effect))
            except TransportFailure as failure:
                walk.fail(failure)
