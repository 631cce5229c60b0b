"""Engine: the local rows and the sync of one store, behind one door for the client.

    session   who is logged in, and requests in their name
    rows      reading                           local    editing
    issues    settling refused mutations
    push      outbox -> server                  pull     server -> replica
    check     replica = server?
    login     where the tokens are kept         carry    unsent work -> file -> `takeover`
    listen    pokes -> bell                     rounds   one sync, and the life of a client that
                                                         syncs by itself: `machine`, carried out

Edits may be made at any time, also while a sync is under way; two syncs never run at once. What
takes a link is `steps` for whoever drives them.
"""

from __future__ import annotations

import threading
from datetime import datetime
from typing import TYPE_CHECKING

from fieldsync.bell import Bell
from fieldsync.connections import connect_plain
from fieldsync.engine.check import Check
from fieldsync.engine.issues import Issues
from fieldsync.engine.listen import Listener
from fieldsync.engine.local import Local
from fieldsync.engine.login import LoginKeeper
from fieldsync.engine.pull import Pull
from fieldsync.engine.push import Push
from fieldsync.engine.report import QUIET, Meter, Status
from fieldsync.engine.rounds import Rounds
from fieldsync.engine.rows import Rows
from fieldsync.engine.session import Session
from fieldsync.listeners import Listeners
from fieldsync.machine import Event
from fieldsync.outbox import Outbox
from fieldsync.retry import RetryBudget
from fieldsync.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from fieldsync.connections import Connect
    from fieldsync.engine.carry import Carry
    from fieldsync.engine.report import CarryReport, SyncReport
    from fieldsync.engine.rounds import Told
    from fieldsync.engine.settings import Settings
    from fieldsync.steps import Steps
    from fieldsync.tokens import TokenStore
    from fieldsync.transport import Answer, Request


class Engine:
    """One store and its server."""

    def __init__(
        self,
        path: str | Path,
        settings: Settings,
        *,
        connect: Connect = connect_plain,
        flush_edits: bool = True,
        tokens: TokenStore | None = None,
    ) -> None:
        self._settings = settings
        self._store = Store(path, connect=connect, flush_edits=flush_edits)
        self._outbox = Outbox(self._store.writer, self._store.touch)
        self._sync_lock = threading.Lock()
        self.is_closed: bool = False
        self.bell: Bell = Bell()
        self.listeners: Listeners = self._store.listeners
        self.rows: Rows = Rows(self._store)
        self.local: Local = Local(
            self._store,
            self._outbox,
            now=settings.now,
            on_edit=lambda: self.bell.ring(Event.EDITED),
        )
        self.issues: Issues = Issues(self.local)
        self._keeper = LoginKeeper(self._store, tokens)
        self._session = Session(self.local, self.bell, self._keeper)
        push = Push(self.local, self._session, settings)
        pull = Pull(self.local, self._session, settings)
        check = Check(self.local, self._session, pull, settings)
        self._rounds = Rounds(push, pull, check, self.bell, settings, self._sync_lock)
        self._listener = Listener(self._session, self.bell, settings)

    @property
    def url(self) -> str | None:
        """The server that the last login was at."""
        return self._store.get_meta("url")

    def login(
        self, username: str, password: str, *, url: str, platform: str, app_version: str
    ) -> Steps[None]:
        """Log in and store who it is. Raises: OtherUsersWork, AuthRequired, Unreachable."""
        with self._sync_lock:
            yield from self._session.login(
                username,
                password,
                platform=platform,
                app_version=app_version,
                budget=RetryBudget(self._settings.retry, self._settings.rng),
            )
            self._store.set_meta(url=url)
        self.bell.ring(Event.LOGGED_IN)

    def logout(self) -> None:
        """Forget the tokens, keep the work."""
        self._session.logout()

    def ask(self, request: Request) -> Steps[Answer]:
        """The answer to one try of `request`. Raises: FieldsyncError."""
        return self._session.ask(request)

    def sync(
        self,
        *,
        held_groups: Callable[[], Collection[str]],
        meter: Meter = QUIET,
        must_check: bool = False,
    ) -> Steps[SyncReport]:
        """Push, pull, and check when that is due, or a must.

        Raises: a FieldsyncError with the unfinished report; work is kept.
        """
        if self.listeners.is_telling:  # the sync that made the change waits for the listener
            raise RuntimeError("sync() in a change listener waits for itself: use sync_soon()")
        return self._rounds.once(held_groups, meter, must_check=must_check)

    def live(
        self, *, held_groups: Callable[[], Collection[str]], told: Told, meter: Meter = QUIET
    ) -> Steps[None]:
        """Sync by itself until the bell says stop. `told` hears how each round ended."""
        return self._rounds.live(held_groups, told, meter)

    def listen(self) -> Steps[None]:
        """Hear the server's pokes, and ring, until the bell says stop."""
        return self._listener.listen()

    def export_work(self, path: Path, passphrase: str) -> CarryReport:
        """Unsent work into a file; it stays here as well."""
        return self._carry().export(path, passphrase)

    def import_work(self, path: Path, passphrase: str) -> CarryReport:
        """Unsent work out of a file."""
        report = self._carry().take(path, passphrase)
        self.bell.ring(Event.EDITED)
        return report

    def _carry(self) -> Carry:
        from fieldsync.engine.carry import Carry  # its cryptography is slow to import, and rare

        return Carry(self.local, now=self._settings.now)

    def status(self) -> Status:
        """How the store stands."""
        store = self._store
        with store.transaction():
            return Status(
                pending=self._outbox.count_pending(),
                sent=self._outbox.count_sent(),
                issues=store.count_issues(),
                acked_unseen=self._outbox.count_acks(),
                oldest_unsent_at=_time(self._outbox.oldest_unsent_at()),
                rows=store.count_rows(),
                has_cursor=store.get_meta("cursor") is not None,
                state=self._rounds.state,
                is_logged_in=self._keeper.is_logged_in,
                user=store.get_meta("user_id"),
                username=store.get_meta("username"),
                tenant=store.get_meta("tenant"),
                device=store.get_meta("device"),
            )

    def close(self) -> None:
        """Close the file. Whatever syncs is told to stop, and fails where it still needs it."""
        self.is_closed = True
        self.bell.ring(Event.STOP)
        self._store.close()


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
