"""Epochs: a feed whose history is another one than devices have read gets a new name.

    start_epoch         after a restore: whoever comes with a cursor of the old epoch pulls afresh
    note_cursor_ahead   when nobody thought of that: a cursor beyond the head proves the restore
    list_behind         tenants whose head is behind their entries: a part was restored alone

A cursor of another epoch is a 410, whatever its seq. Without a new epoch the head would grow past
the cursors from before the restore, and each of those devices would miss, in silence, what was
written meanwhile under seqs that it believes to have read.
"""

from __future__ import annotations

import dataclasses
import logging
import uuid
from typing import TYPE_CHECKING, Any

from django.db import connection

from sync import changelog, transactions
from sync.types import StreamState

if TYPE_CHECKING:
    from uuid import UUID

log = logging.getLogger(__name__)

# Also the head is put right: numbers that entries or changes have must not be given once more.
_START = """
UPDATE sync_stream SET epoch = %(new)s, head = greatest(head, newest.seq)
FROM (SELECT greatest(
    (SELECT max(seq) FROM sync_change WHERE tenant_id = %(tenant)s),
    (SELECT max(seq) FROM sync_entry WHERE tenant_id = %(tenant)s)) AS seq) AS newest
WHERE tenant_id = %(tenant)s {only_if}
RETURNING epoch, head, floor
"""
_ALWAYS = _START.format(only_if="")
# Of many that notice it at once the first wins: for the others, which waited for its lock, the
# epoch is not that of the cursor any more.
_IF_BEHIND = _START.format(only_if="AND epoch = %(epoch)s AND head < %(seq)s")
# The index is read once for each scope, and not the feeds themselves. Changes have no index by
# seq; those of rows that are in a scope have the seq of their entry.
_BEHIND = """
WITH RECURSIVE held AS (
    (SELECT tenant_id, scope FROM sync_entry ORDER BY tenant_id, scope LIMIT 1)
    UNION ALL
    SELECT next.tenant_id, next.scope FROM held CROSS JOIN LATERAL (
        SELECT tenant_id, scope FROM sync_entry
        WHERE (tenant_id, scope) > (held.tenant_id, held.scope)
        ORDER BY tenant_id, scope LIMIT 1
    ) AS next
)
SELECT held.tenant_id, coalesce(s.head, 0), max(newest.seq)
FROM held CROSS JOIN LATERAL (
    SELECT seq FROM sync_entry WHERE tenant_id = held.tenant_id AND scope = held.scope
    ORDER BY seq DESC LIMIT 1
) AS newest LEFT JOIN sync_stream s ON s.tenant_id = held.tenant_id
GROUP BY held.tenant_id, s.head HAVING max(newest.seq) > coalesce(s.head, 0)
ORDER BY held.tenant_id
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Behind:
    """A tenant whose feed has entries beyond its head."""

    tenant_id: UUID
    head: int
    newest: int


def start_epoch(tenant_id: UUID) -> StreamState:
    """Give a tenant's feed a new epoch, and return its stream; one that is missing is opened.

    Every device of the tenant pulls afresh. Again is harmless, and costs the same again.

    Raises:
        Unavailable: the database gave up.
    """
    return transactions.run(lambda _: _start(tenant_id))


def note_cursor_ahead(tenant_id: UUID, *, epoch: UUID, seq: int) -> None:
    """Start a new epoch, since a cursor of `epoch` that we have signed has read up to `seq`.

    Does nothing if the head is there after all, or the epoch is another one already. Must be
    committed even though the request that brought the cursor ends in an error.

    Raises:
        Unavailable: the database gave up; so does a standby, whose head may well be behind.
    """
    started = transactions.run(lambda _: _restart(_IF_BEHIND, tenant_id, epoch=epoch, seq=seq))
    if started is not None:
        log.critical(
            "history was lost: tenant %s, a device has read up to seq %s, the head is %s. The "
            "tenant has a new epoch now, and its devices pull afresh. If the database was "
            "restored, run `manage.py sync_new_epoch --all` for the other tenants.",
            tenant_id,
            seq,
            started.head,
        )


def list_behind() -> list[Behind]:
    """Return the tenants whose head is behind what their entries say."""
    with connection.cursor() as cursor:
        cursor.execute(_BEHIND)
        return [
            Behind(tenant_id=tenant_id, head=head, newest=newest)
            for tenant_id, head, newest in cursor.fetchall()
        ]


def _start(tenant_id: UUID) -> StreamState:
    changelog.read_stream(tenant_id)  # opens one that is missing
    started = _restart(_ALWAYS, tenant_id)
    if started is None:
        message = f"the stream of {tenant_id} vanished"
        raise AssertionError(message)
    return started


def _restart(sql: str, tenant_id: UUID, **parameters: Any) -> StreamState | None:
    with connection.cursor() as cursor:
        cursor.execute(sql, {"tenant": tenant_id, "new": uuid.uuid4(), **parameters})
        found = cursor.fetchone()
    if found is None:
        return None
    epoch, head, floor = found
    return StreamState(epoch=epoch, head=head, floor=floor)
