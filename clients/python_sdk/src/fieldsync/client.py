"""Client: the public face of the SDK.

    client = Client(url, store="phone.db")
    client.login(...)                     once; the store remembers
    client.collection("notes").create()   any time, with or without a link
    client.sync()                         whenever there is a link

Nothing here knows a rule of sync: it all goes to the engine.
"""

from __future__ import annotations

import random
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypedDict

from fieldsync.engine import Engine, Settings
from fieldsync.errors import ErrorClass
from fieldsync.retry import RetryPolicy
from fieldsync.transport import Transport
from fieldsync.wire import NEEDS_A_PERSON, Outcome, canonical_id, find_unsendable_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self, Unpack

    import httpx2

    from fieldsync.engine.issues import Keep
    from fieldsync.engine.local import Row
    from fieldsync.engine.report import Status, SyncReport
    from fieldsync.store import IssueRecord

__version__ = "0.1.0"
TIMEOUT_S = 30.0  # a push of 500 rows over a bad link takes a while
PUSH_ROWS_MAX = 500  # half the server's limit: a lost answer costs less


class Options(TypedDict, total=False):
    """What a `Client` can be told besides its server and its store."""

    platform: str  # told at login
    app_version: str  # told at login
    timeout_s: float
    push_rows_max: int
    retry: RetryPolicy
    http: httpx2.Client | None  # connections to use; they are not closed here
    rng: random.Random  # jitter only, never ids or keys
    sleep: Callable[[float], None]
    now: Callable[[], datetime]


class Client:
    """One device of one user: a store on disk and the server it syncs with.

    May be shared between threads: `sync()` may run in a worker while others read and edit. Two
    syncs take turns, and no edit waits for a request. One client per store in a process; `close()`
    comes after the last call.
    """

    def __init__(self, url: str, *, store: str | Path, **options: Unpack[Options]) -> None:
        self._platform = options.get("platform", "python")
        self._app_version = options.get("app_version", __version__)
        now = options.get("now", _utc_now)
        transport = Transport(
            url,
            http=options.get("http"),
            timeout_s=options.get("timeout_s", TIMEOUT_S),
            user_agent=f"fieldsync-python/{__version__}",
            now=now,
        )
        settings = Settings(
            retry=options.get("retry", RetryPolicy()),
            push_rows_max=options.get("push_rows_max", PUSH_ROWS_MAX),
            rng=options.get("rng", random.SystemRandom()),
            sleep=options.get("sleep", time.sleep),
            now=now,
        )
        self._engine = Engine(store, transport, settings)
        self._group = threading.local()
        self._open_groups: list[str] = []

    def login(self, username: str, password: str) -> None:
        """Log in; the store keeps the tokens, so that later starts need no login.

        Raises: AuthRequired when refused; OtherUsersWork when the store holds unsent work of
        another user; Unreachable.
        """
        self._engine.login(
            username, password, platform=self._platform, app_version=self._app_version
        )

    def collection(self, name: str) -> Collection:
        """The rows of one collection."""
        return Collection(self, name)

    @contextmanager
    def group(self, name: str) -> Iterator[None]:
        """Mutations made inside, in this thread, are applied by the server whole or not at all.

        They are not sent before the block ends. Inner groups join the outer ones.

        Raises: ValueError for a name that is not of 1 to 64 characters, or cannot be sent.
        """
        reason = find_unsendable_name(name)
        if reason is not None:
            raise ValueError(reason)
        outer = self._current_groups()
        self._group.names = outer | {name}
        self._open_groups.append(name)
        try:
            yield
        finally:
            self._open_groups.remove(name)
            self._group.names = outer

    def _current_groups(self) -> frozenset[str]:
        names: frozenset[str] = getattr(self._group, "names", frozenset())
        return names

    def sync(self) -> SyncReport:
        """Push until the outbox is empty, then pull until nothing is left.

        Raises: Unreachable when the retry budget runs out, AuthRequired, UpgradeRequired,
        ServerBug. In each case the work is kept, and a later call goes on.
        """
        return self._engine.sync(held_groups=tuple(self._open_groups))

    def issues(self) -> list[Issue]:
        """Refused mutations that wait for a person, oldest first."""
        return [Issue(self._engine, record) for record in self._engine.issues.list_open()]

    def status(self) -> Status:
        """How the store stands."""
        return self._engine.status()

    def close(self) -> None:
        """Close the store. Nothing is lost: all work is on the disk already."""
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Collection:
    """The rows of one collection, as this device sees them."""

    def __init__(self, client: Client, name: str) -> None:
        self.name = name
        self._local = client._engine.local  # noqa: SLF001  # same module
        self._groups = client._current_groups  # noqa: SLF001  # same module

    def create(self, data: Mapping[str, Any], *, id: str | None = None) -> str:  # noqa: A002  # the wire's word
        """Create a row and return its id, a new UUIDv7 unless given. Raises: RowExists."""
        return self._local.create(self.name, data, row_id=id, groups=self._groups())

    def update(self, row_id: str, fields: Mapping[str, Any]) -> None:
        """Change `fields` of a row; the others stay. Raises: RowNotFound."""
        self._local.update(self.name, canonical_id(row_id), fields, groups=self._groups())

    def delete(self, row_id: str) -> None:
        """Delete a row. Raises: RowNotFound."""
        self._local.delete(self.name, canonical_id(row_id), groups=self._groups())

    def get(self, row_id: str) -> Row | None:
        """The row, or None when this device does not hold it."""
        return self._local.get(self.name, canonical_id(row_id))

    def all(self) -> list[Row]:
        """All rows, by id: in the order they were made, with UUIDv7."""
        return self._local.all(self.name)

    def query(self, **fields: object) -> list[Row]:
        """The rows whose fields have these values."""
        return [
            row
            for row in self.all()
            if all(name in row.data and row.data[name] == value for name, value in fields.items())
        ]


class Issue:
    """A refused mutation, with everything the server said about it.

    `mine` are the values that were to be written, `theirs` the row on the server as far as known.
    """

    def __init__(self, engine: Engine, record: IssueRecord) -> None:
        self._issues = engine.issues
        self.id = record.id
        self.collection = record.collection
        self.row_id = record.row_id
        self.op = record.op
        self.outcome = record.outcome
        self.code = record.code
        self.detail = record.detail
        self.fields = record.fields
        self.base_version = record.base_version
        self.version = record.version
        self.mine = record.mine
        self.base = record.base
        self.theirs = record.theirs
        self.errors = record.errors
        self.blocked_by = record.blocked_by
        self.created_at = datetime.fromisoformat(record.created_at)

    @property
    def is_parked(self) -> bool:
        """Whether the server keeps the mutation for a supervisor to decide."""
        return self.outcome == Outcome.QUARANTINED

    @property
    def error_class(self) -> ErrorClass:
        """Whether a person can settle it by choosing, or only by changing the row."""
        is_choice = self.outcome in NEEDS_A_PERSON
        return ErrorClass.NEEDS_USER if is_choice else ErrorClass.ROW_PERMANENT

    def resolve(self, keep: Keep | Mapping[str, Any]) -> str | None:
        """Settle it: `"mine"`, `"theirs"`, or mine with these values. Sent by the next sync.

        Returns the id of the row that was queued; a new one when a row has to be created anew.
        Raises: IssueClosed; UnsendableValue; Unresolvable when the row is gone.
        """
        return self._issues.resolve(self.id, keep)

    def retry(self) -> None:
        """Send it again as it was, after its cause was removed. Raises: IssueClosed."""
        self._issues.retry(self.id)

    def discard(self) -> None:
        """Give the mutation up for good. Raises: IssueClosed."""
        self._issues.discard(self.id)

    def __repr__(self) -> str:
        return f"<Issue {self.id}: {self.op} {self.collection} {self.row_id}: {self.detail}>"


def _utc_now() -> datetime:
    return datetime.fromtimestamp(time.time(), tz=UTC)
