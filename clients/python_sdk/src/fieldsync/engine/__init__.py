"""Engine: the local rows and the sync of one store, behind one door for the client.

    session   who is logged in, and requests in their name
    local     reading and editing rows          issues   settling refused mutations
    push      outbox -> server                  pull     server -> replica

    sync:  push until the outbox is empty -> pull until nothing is left
                ^                                  |
                +----- 410: forget the cursor -----+

Edits may be made at any time, also while a sync is under way; two syncs never run at once.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fieldsync.engine.issues import Issues
from fieldsync.engine.local import Local
from fieldsync.engine.pull import Pull
from fieldsync.engine.push import Push
from fieldsync.engine.report import Status, SyncReport
from fieldsync.engine.session import Session
from fieldsync.errors import FieldsyncError, ServerBug
from fieldsync.outbox import Outbox
from fieldsync.retry import RetryBudget, RetryPolicy
from fieldsync.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime
    from pathlib import Path
    from random import Random

    from fieldsync.transport import Transport

RESTARTS_MAX = 3  # fresh pulls in one sync; a server that asks for more is broken


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How an engine behaves. `sleep` takes seconds; `now` is aware UTC."""

    retry: RetryPolicy
    push_rows_max: int
    rng: Random
    sleep: Callable[[float], None]
    now: Callable[[], datetime]


class Engine:
    """One store and its server."""

    def __init__(self, path: str | Path, transport: Transport, settings: Settings) -> None:
        self._settings = settings
        self._transport = transport
        self._store = Store(path)
        self._outbox = Outbox(self._store.connection)
        self._sync_lock = threading.Lock()
        self.local = Local(self._store, self._outbox, now=settings.now)
        self.issues = Issues(self.local)
        self._session = Session(self.local, transport, sleep=settings.sleep)
        self._push = Push(self.local, self._session, rows_max=settings.push_rows_max)
        self._pull = Pull(self.local, self._session)

    def login(self, username: str, password: str, *, platform: str, app_version: str) -> None:
        """Log in and store who it is. Raises: OtherUsersWork, AuthRequired, Unreachable."""
        with self._sync_lock:
            self._session.login(
                username,
                password,
                platform=platform,
                app_version=app_version,
                budget=self._budget(),
            )

    def sync(self, *, held_groups: Collection[str]) -> SyncReport:
        """Push, then pull. Raises: a FieldsyncError with the unfinished report; work is kept."""
        report = SyncReport()
        budget = self._budget()
        with self._sync_lock:
            try:
                self._run(budget, report, held_groups)
            except FieldsyncError as error:
                error.report = report
                raise
            finally:
                report.retries = budget.retries
        return report

    def _run(self, budget: RetryBudget, report: SyncReport, held_groups: Collection[str]) -> None:
        for _ in range(RESTARTS_MAX + 1):
            self._push.run(budget, report, held_groups=held_groups)
            if self._pull.run(budget, report):
                return
        raise ServerBug(code="restarts_without_end", detail="each fresh pull was refused again")

    def _budget(self) -> RetryBudget:
        return RetryBudget(self._settings.retry, self._settings.rng)

    def status(self) -> Status:
        """How the store stands."""
        store = self._store
        with store.transaction():
            return Status(
                pending=self._outbox.count_pending(),
                sent=self._outbox.count_sent(),
                issues=store.count_issues(),
                acked_unseen=self._outbox.count_acks(),
                rows=store.count_rows(),
                has_cursor=store.get_meta("cursor") is not None,
                user=store.get_meta("user_id"),
                username=store.get_meta("username"),
                tenant=store.get_meta("tenant"),
                device=store.get_meta("device"),
            )

    def close(self) -> None:
        """Close the file and the connections."""
        self._store.close()
        self._transport.close()
