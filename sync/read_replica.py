"""The read replica: where pages are read when it has all that its device was told so far.

    who asks, epoch, head, floor ......... the primary, always
    page -> one statement on the replica [ its own epoch, head and floor; the page ]
              |- of this history, and far enough -> the page, as far as the replica's head
              `- behind, ahead, away, too slow   -> the primary, for the rest of the pull

The page and the replica's head are of one snapshot. So however far behind the replica is, its page
has all that happened up to that head, and the primary tells the rest: lag makes no gap, no empty
page and no 410. A replica that fails is left alone for some seconds, by all threads of a process.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from django.db import Error, connection, connections
from psycopg.adapt import Buffer, Loader

from sync.conf import sync_settings

if TYPE_CHECKING:
    from uuid import UUID

    from django.db.backends.base.base import BaseDatabaseWrapper

log = logging.getLogger(__name__)

Row = tuple[Any, ...]

REST_S: Final = 10.0  # after a failure: connecting to a host that is gone may take seconds

# Of another history is what has another epoch; what was promoted, or is a copy that never was a
# replica; and perhaps what is ahead: it may have what a failover has lost. (Mostly it is quicker
# than we are, and then the primary tells as much.) Tombstones above `place` must still be there.
# Where there is no such stream, the page is not even begun.
_ON_REPLICA = """
SELECT stream.head, answer.* FROM (
    SELECT head FROM sync_stream
    WHERE tenant_id = %(tenant)s AND epoch = %(epoch)s AND pg_is_in_recovery()
        AND floor <= %(place)s AND head BETWEEN %(needed)s AND %(head)s
) AS stream LEFT JOIN (SELECT true, page.* FROM ({sql}) AS page) AS answer ON true
"""


class _AsItComes(Loader):
    """Text that is sent on as bytes: to decode and encode it cost a page a tenth of its CPU."""

    def load(self, data: Buffer) -> bytes:
        """Return `data`."""
        return bytes(data)


class Answer(NamedTuple):
    """Rows, and the head of the replica that they are from; None when they are the primary's."""

    rows: list[Row]
    head: int | None


Fetch = Callable[..., Answer]  # `Source.fetch` with the `place` given


class Source:
    """What the pages of one pull are read from, up to the head that was read on the primary."""

    def __init__(self, *, tenant_id: UUID, epoch: UUID, head: int) -> None:
        self._stream = {"tenant": tenant_id, "epoch": epoch, "head": head}
        self._alias = sync_settings().replica_alias
        self._reaches = head  # as far as is known; where it has ended, it need not be asked again

    def fetch(
        self,
        sql: str,
        parameters: Mapping[str, Any],
        *,
        place: int,
        beyond: int = 0,
        is_raw: bool = False,
    ) -> Answer:
        """Return what `sql` gives, on the replica if that has all that is needed.

        Up to `place` the device was told everything, or was not since it was deleted by then; with
        nothing above `beyond` the replica has nothing to tell. Texts are bytes if `is_raw`.
        """
        needed = max(place, beyond + 1)
        if self._alias and needed <= self._reaches:
            own = {**self._stream, "place": place, "needed": needed}
            found = _ask(self._alias, _on_replica(sql), {**parameters, **own}, is_raw=is_raw)
            if found:
                self._reaches = found[0][0]
                return Answer([row[2:] for row in found if row[1]], self._reaches)
        self._alias = ""
        return ask_primary(sql, parameters, is_raw=is_raw)


def ask_primary(
    sql: str, parameters: Mapping[str, Any], *, beyond: int = 0, is_raw: bool = False
) -> Answer:
    """Return what `sql` gives on the primary; a `Fetch` where there is nothing to choose."""
    del beyond
    return Answer(_execute(connection, sql, parameters, is_raw=is_raw), None)


def _execute(
    on: BaseDatabaseWrapper, sql: str, parameters: Mapping[str, Any], *, is_raw: bool
) -> list[Row]:
    with on.cursor() as cursor:
        if is_raw:
            cursor.adapters.register_loader("text", _AsItComes)
        cursor.execute(sql, parameters)
        found: list[Row] = cursor.fetchall()
    return found


@functools.cache
def _on_replica(sql: str) -> str:
    return _ON_REPLICA.format(sql=sql)


def _ask(alias: str, sql: str, parameters: Mapping[str, Any], *, is_raw: bool) -> list[Row]:
    """Return what the replica says; nothing if it has not what is needed, or says nothing."""
    if not rest.is_over():
        return []
    try:
        found = _execute(connections[alias], sql, parameters, is_raw=is_raw)
    except Error as error:  # whatever it is: if the statement is wrong, the primary says so too
        rest.begin(error)
        with suppress(Error):
            connections[alias].close()
        return []
    rest.end()
    return found


class Rest:
    """The time for which a replica that failed is left alone; one for all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_in_doubt = False
        self._until = 0.0  # monotonic seconds

    def is_over(self) -> bool:
        """Whether the replica may be asked; after a rest one thread may, to see if it is well."""
        if not self._is_in_doubt:
            return True
        with self._lock:
            now = time.monotonic()
            if now < self._until:
                return False
            self._until = now + REST_S
            return True

    def begin(self, error: Exception) -> None:
        """Leave the replica alone."""
        log.warning("the read replica is left alone for %d s: %s", REST_S, str(error).strip())
        with self._lock:
            self._is_in_doubt, self._until = True, time.monotonic() + REST_S

    def end(self) -> None:
        """Ask it as usual: it has answered."""
        if self._is_in_doubt:
            log.warning("the read replica answers again")
            self._is_in_doubt = False


rest: Final = Rest()
