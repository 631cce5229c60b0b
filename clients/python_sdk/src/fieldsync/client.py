"""Client: the public face of the SDK.

    client = Client(url, store="phone.db")        AsyncClient: the same on an event loop
    client.login(...)                     once; the store remembers
    client.collection("notes").create()   any time, with or without a link
    client.sync()                         whenever there is a link; or run_forever()

Nothing here knows a rule of sync: it all goes to the engine, and its steps to a driver.
"""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, overload

from fieldsync.collection import Collection
from fieldsync.connections import connect_plain
from fieldsync.drivers import AsyncOutside, Outside, drive, drive_async
from fieldsync.engine import Engine
from fieldsync.engine.report import Meter
from fieldsync.engine.settings import Settings, choose_collections
from fieldsync.issue import Issue
from fieldsync.machine import Event
from fieldsync.retry import RetryPolicy
from fieldsync.transport import AsyncTransport, Transport, Wording
from fieldsync.wire import find_unsendable_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
    from types import TracebackType
    from typing import Self, Unpack

    import httpx2

    from fieldsync.connections import Connect
    from fieldsync.engine.report import CarryReport, Progress, Status, SyncReport
    from fieldsync.engine.rows import Row
    from fieldsync.errors import FieldsyncError
    from fieldsync.listeners import RowsChanged
    from fieldsync.steps import Steps
    from fieldsync.tokens import TokenStore

    Told = Callable[[SyncReport, FieldsyncError | None], None]
    Watch = Callable[[Progress], None]

T = TypeVar("T")

__version__ = "0.1.0"
USER_AGENT = f"fieldsync-python/{__version__}"
TIMEOUT_S = 30.0  # a push of 500 rows over a bad link takes a while
PUSH_ROWS_MAX = 500  # half the server's limit: a lost answer costs less
CHECK_S = 86_400.0  # a replica that went wrong is mended within a day
POLL_S = 60.0  # a poke that was lost costs this long
LISTENER_END_S = 1.0  # an ear that is still reading then is let go of

_groups: ContextVar[Mapping[int, frozenset[str]]] = ContextVar("fieldsync_groups", default={})  # noqa: B039  # never changed, only replaced


class BaseOptions(TypedDict, total=False):
    """What either client can be told besides its server and its store."""

    platform: str  # told at login
    app_version: str  # told at login
    timeout_s: float
    push_rows_max: int
    collections: Iterable[str]  # only these are synced; without it, all
    check_s: float  # how often the replica is compared with the server
    poll_s: float  # how often `run_forever` asks, pokes or not
    tokens: TokenStore | None  # where they are kept, if not in the store
    retry: RetryPolicy
    flush_edits: bool  # False: edits are faster; a power cut may cost those of the last minute
    connect: Connect  # opens the store's file, for one that is encrypted
    rng: random.Random  # jitter only, never ids or keys
    now: Callable[[], datetime]


class Options(BaseOptions, total=False):
    """What a `Client` can be told."""

    http: httpx2.Client | None  # connections to use; they are not closed here
    sleep: Callable[[float], None]  # replaces the wait after a failure


class AsyncOptions(BaseOptions, total=False):
    """What an `AsyncClient` can be told."""

    http: httpx2.AsyncClient | None
    sleep: Callable[[float], Awaitable[None]]


class _Base:
    """What needs no link: the same for both clients."""

    def __init__(self, url: str | None, store: str | Path, options: BaseOptions) -> None:
        self._platform = options.get("platform", "python")
        self._app_version = options.get("app_version", __version__)
        now = options.get("now", utc_now)
        settings = Settings(
            retry=options.get("retry", RetryPolicy()),
            push_rows_max=options.get("push_rows_max", PUSH_ROWS_MAX),
            rng=options.get("rng", random.SystemRandom()),
            now=now,
            poll_s=options.get("poll_s", POLL_S),
            check_s=options.get("check_s", CHECK_S),
            collections=choose_collections(options.get("collections")),
        )
        self._engine = Engine(
            store,
            settings,
            connect=options.get("connect", connect_plain),
            flush_edits=options.get("flush_edits", True),
            tokens=options.get("tokens"),
        )
        # The server's root; None before the first login.
        self.url: str | None = url or self._engine.url
        self._wording = Wording(
            url=self.url or "",
            timeout_s=options.get("timeout_s", TIMEOUT_S),
            user_agent=USER_AGENT,
            now=now,
            app_version=self._app_version,
        )
        self._open_groups: list[str] = []

    @overload
    def collection(self, name: str) -> Collection[Row]: ...
    @overload
    def collection(self, name: str, cls: type[T]) -> Collection[T]: ...
    def collection(self, name: str, cls: type[Any] | None = None) -> Collection[Any]:
        """The rows of one collection; as objects of `cls`, a msgspec.Struct or a dataclass.

        Raises: TypeError for a class without a field `id: str`.
        """
        return Collection(self._engine, name, self._current_groups, cls)

    def on_change(self, listener: Callable[[RowsChanged], object]) -> Callable[[], None]:
        """Tell `listener` which rows change, and by what; returns what ends that.

        It is called after the change is stored, in the thread that made it, and may read and
        edit; a page of a pull is one call. What it raises is logged. It must not call `sync()`.
        """
        return self._engine.listeners.add(listener)

    @contextmanager
    def group(self, name: str) -> Iterator[None]:
        """Mutations made inside, in this thread or task, are applied whole or not at all.

        They are not sent before the block ends. Inner groups join the outer ones.

        Raises: ValueError for a name that is not of 1 to 64 characters, or cannot be sent.
        """
        reason = find_unsendable_name(name)
        if reason is not None:
            raise ValueError(reason)
        mark = _groups.set({**_groups.get(), id(self): self._current_groups() | {name}})
        self._open_groups.append(name)
        try:
            yield
        finally:
            self._open_groups.remove(name)
            _groups.reset(mark)
            self._engine.bell.ring(Event.EDITED)

    def _current_groups(self) -> frozenset[str]:
        return _groups.get().get(id(self), frozenset())

    def _held_groups(self) -> tuple[str, ...]:
        return tuple(self._open_groups)

    def _syncing(self, progress: Watch | None, *, must_check: bool = False) -> Steps[SyncReport]:
        return self._engine.sync(
            held_groups=self._held_groups, meter=Meter(progress), must_check=must_check
        )

    def _living(self, told: Told | None, progress: Watch | None) -> Steps[None]:
        return self._engine.live(
            held_groups=self._held_groups, told=told or _tell_nobody, meter=Meter(progress)
        )

    def issues(self) -> list[Issue]:
        """Refused mutations that wait for a person, oldest first."""
        return [Issue(self._engine, record) for record in self._engine.issues.list_open()]

    def status(self) -> Status:
        """How the store stands."""
        return self._engine.status()

    def logout(self) -> None:
        """Forget the tokens. Unsent work stays; until it is sent only its user can log in."""
        self._engine.logout()

    def export_work(self, path: str | Path, passphrase: str) -> CarryReport:
        """Write all unsent work and all issues to a signed file; they stay here as well.

        Raises: AuthRequired when nobody was ever logged in here; ValueError for an empty
        passphrase; OSError.
        """
        return self._engine.export_work(Path(path), passphrase)

    def import_work(self, path: str | Path, passphrase: str) -> CarryReport:
        """Take over the work in a file that this user exported, here or elsewhere.

        Safe to repeat, also when some of it was sent meanwhile.

        Raises: WorkUnreadable for another passphrase or a changed file; WorkOfAnother;
        UpgradeRequired; AuthRequired when nobody was ever logged in here; OSError.
        """
        return self._engine.import_work(Path(path), passphrase)

    def _login_steps(self, username: str, password: str) -> Steps[None]:
        if self.url is None:
            raise ValueError("no server is known to this store: give its URL")
        return self._engine.login(
            username,
            password,
            url=self.url,
            platform=self._platform,
            app_version=self._app_version,
        )

    def sync_soon(self) -> None:
        """Have `run_forever` sync now, also where it waits for a link or a login.

        From any thread, and from a signal handler.
        """
        self._engine.bell.ring(Event.ASKED)

    def stop(self) -> None:
        """End `run_forever`: what waits at once, a request under way with its answer.

        From any thread, and from a signal handler. When none runs, the next one ends at once.
        """
        self._engine.bell.ring(Event.STOP)


class Client(_Base):
    """One device of one user: a store on disk and the server it syncs with.

    May be shared between threads: `sync()` may run in a worker while others read and edit. Two
    syncs take turns, no edit waits for a request, and no read waits for anything. One client per
    store: a second one, here or in another process, is refused. `close()` comes after the last
    call. Without a `url` it is the server of the last login. Raises: StoreInUse, UpgradeRequired.
    """

    def __init__(
        self, url: str | None = None, *, store: str | Path, **options: Unpack[Options]
    ) -> None:
        super().__init__(url, store, options)
        self._transport = Transport(self._wording, options.get("http"))
        bell, sleep = self._engine.bell, options.get("sleep")
        self._outside = Outside(transport=self._transport, bell=bell, sleep=sleep)

    def login(self, username: str, password: str) -> None:
        """Log in; the store keeps the tokens, so that later starts need no login.

        Raises: AuthRequired when refused; OtherUsersWork when the store holds unsent work of
        another user; Unreachable.
        """
        drive(self._login_steps(username, password), self._outside)

    def sync(self, *, progress: Watch | None = None) -> SyncReport:
        """Push until the outbox is empty, then pull until nothing is left.

        `progress` hears how far it is, a few times a second. Now and then the replica is compared
        with the server, and mended where it differs: the report says so.

        Raises: Unreachable when the retry budget runs out, AuthRequired, UpgradeRequired,
        ServerBug. In each case the work is kept, and a later call goes on.
        """
        return drive(self._syncing(progress), self._outside)

    def verify(self, *, progress: Watch | None = None) -> SyncReport:
        """Sync, and prove that the replica equals the server, or mend it. Raises: as `sync`."""
        return drive(self._syncing(progress, must_check=True), self._outside)

    def run_forever(self, told: Told | None = None, *, progress: Watch | None = None) -> None:
        """Sync whenever there is something to, until `stop()`: edits, pokes, and now and then.

        `told` hears how each round ended: its report, and the error that it ended in, if it did.
        """
        ear = threading.Thread(
            target=self._drive_until_closed,
            args=(self._engine.listen(),),
            name="fieldsync-listener",
            daemon=True,
        )
        ear.start()
        try:
            self._drive_until_closed(self._living(told, progress))
        finally:
            self.stop()
            self._transport.shut_streams()
            ear.join(LISTENER_END_S)
            self._engine.bell.forget_stop()

    def _drive_until_closed(self, steps: Steps[None]) -> None:
        try:
            drive(steps, self._outside)
        except sqlite3.ProgrammingError:
            if not self._engine.is_closed:
                raise

    def close(self) -> None:
        """Close the store, and end `run_forever`. All work is on the disk already.

        Any other call under way, or made later, raises sqlite3.ProgrammingError.
        """
        self._engine.close()
        self._transport.shut_streams()
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class AsyncClient(_Base):
    """The same client on an event loop: what takes a link is awaited, all else is at once."""

    def __init__(
        self, url: str | None = None, *, store: str | Path, **options: Unpack[AsyncOptions]
    ) -> None:
        super().__init__(url, store, options)
        self._transport = AsyncTransport(self._wording, options.get("http"))
        bell, sleep = self._engine.bell, options.get("sleep")
        self._outside = AsyncOutside(transport=self._transport, bell=bell, sleep=sleep)

    async def login(self, username: str, password: str) -> None:
        """Log in, as `Client.login` does."""
        await drive_async(self._login_steps(username, password), self._outside)

    async def sync(self, *, progress: Watch | None = None) -> SyncReport:
        """Push, then pull, as `Client.sync` does; `progress` is called in another thread."""
        return await drive_async(self._syncing(progress), self._outside)

    async def verify(self, *, progress: Watch | None = None) -> SyncReport:
        """Sync, and prove that the replica equals the server, as `Client.verify` does."""
        return await drive_async(self._syncing(progress, must_check=True), self._outside)

    async def run_forever(
        self, told: Told | None = None, *, progress: Watch | None = None
    ) -> None:
        """Sync until `stop()`, or until this task is cancelled, as `Client.run_forever` does."""
        import asyncio  # here: a client that blocks does without, and starts sooner

        ear = asyncio.ensure_future(drive_async(self._engine.listen(), self._outside))
        try:
            await drive_async(self._living(told, progress), self._outside)
        finally:
            ear.cancel()
            await asyncio.wait([ear])
            self._engine.bell.forget_stop()

    async def close(self) -> None:
        """Close the store. Nothing is lost: all work is on the disk already."""
        self._engine.close()
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


def _tell_nobody(report: SyncReport, error: FieldsyncError | None) -> None:
    """Where an app looks at `status()` instead."""


def utc_now() -> datetime:
    """The time by this machine's clock, aware UTC."""
    return datetime.fromtimestamp(time.time(), tz=UTC)
