"""The change log: what the feed says of every row, and to whom. Owns stream, change and entry.

    append    one statement, the last before COMMIT: bump the head, write changes and entries
    read_facts, read_payloads   what it holds of some rows

The stream's row lock is the proof that the feed has no gaps: seqs become visible in their order,
and a rollback leaves no hole. So nothing slow happens after it is taken.

Facts (a row's scopes, its tombstone) are read before that lock. A row that hands its scopes down
may move meanwhile; every such move counts up `moves`, and `append` writes only if the count is
still what it was when the facts were read.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from django.db import connection
from msgspec import Raw

from sync.errors import NeedsCare
from sync.types import Actor, Change, ChangeOp, RowKey, StreamState
from sync.wire import bucket, digest, encode

if TYPE_CHECKING:
    import datetime
    from uuid import UUID

# The inner LIMIT keeps each key an index look-up, whatever the statistics of the table say.
_OF_KEYS = """
json_each(%(keys)s::json) AS asked(collection, ids)
CROSS JOIN LATERAL json_array_elements_text(asked.ids) AS k(row_id)
CROSS JOIN LATERAL (
    SELECT collection, row_id, op, version, scopes, payload FROM sync_change
    WHERE tenant_id = %(tenant)s AND collection = asked.collection AND row_id = k.row_id
    LIMIT 1
) AS c
"""
_FACTS = f"""
SELECT s.moves, c.* FROM sync_stream s LEFT JOIN (SELECT c.* FROM {_OF_KEYS}) AS c ON true
WHERE s.tenant_id = %(tenant)s
"""  # noqa: S608  # constants
_PAYLOADS = f"""
SELECT c.collection, c.row_id, c.version, c.payload, c.scopes FROM {_OF_KEYS}
WHERE c.op = 'upsert'
"""  # noqa: S608  # constants

_APPEND = """
WITH bump AS (
    UPDATE sync_stream SET head = head + %(seqs)s, moves = moves + %(moved)s
    WHERE tenant_id = %(tenant)s AND moves = %(moves)s
    RETURNING head - %(seqs)s AS base
), given AS MATERIALIZED (
    SELECT bump.base, g.* FROM bump, json_to_recordset(%(changes)s::json) AS g(
        n int, collection text, row_id text, op text, version bigint, payload json,
        digest bigint, bucket smallint, scopes text[], left_scopes text[])
), changed AS (
    INSERT INTO sync_change (tenant_id, collection, row_id, seq, op, version, payload, digest,
                             scopes, device_id, changed_at)
    SELECT %(tenant)s, collection, row_id, base + n, op, version, payload::text, digest,
           scopes, %(device)s, %(now)s
    FROM given
    ON CONFLICT (tenant_id, collection, row_id) DO UPDATE SET
        seq = excluded.seq, op = excluded.op, version = excluded.version,
        payload = excluded.payload, digest = excluded.digest, scopes = excluded.scopes,
        device_id = excluded.device_id, changed_at = excluded.changed_at
    WHERE sync_change.version <= excluded.version
    RETURNING 1
), entered AS (
    INSERT INTO sync_entry (tenant_id, scope, collection, row_id, seq, op, digest, bucket)
    SELECT %(tenant)s, scope, collection, row_id, seq, op, digest, bucket FROM (
        SELECT unnest(scopes) AS scope, collection, row_id, base + n AS seq, op, digest, bucket
        FROM given
        UNION ALL
        SELECT unnest(left_scopes), collection, row_id, base + n - 1, 'scope_exit', digest, bucket
        FROM given
    ) AS line
    ON CONFLICT (tenant_id, scope, collection, row_id) DO UPDATE SET
        seq = excluded.seq, op = excluded.op, digest = excluded.digest, bucket = excluded.bucket
)
SELECT (SELECT count(*) FROM changed), base + %(seqs)s FROM bump
"""  # a payload of type json is taken over as it stands, byte for byte

_STREAM = "SELECT epoch, head, floor FROM sync_stream WHERE tenant_id = %s"
_LOCK = "SELECT moves FROM sync_stream WHERE tenant_id = %s FOR NO KEY UPDATE"
_OPEN = """
INSERT INTO sync_stream (tenant_id, epoch, head, floor, moves) VALUES (%s, %s, 0, 0, 0)
ON CONFLICT DO NOTHING
"""


_OPS = {str(op): op for op in ChangeOp}


class Fact(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the log holds of one row; `payload` is its JSON, None for a tombstone."""

    op: ChangeOp
    version: int
    scopes: frozenset[str]
    payload: str | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the log holds of some rows, and the stream's count of moves at that moment."""

    moves: int
    rows: dict[RowKey, Fact]

    def __or__(self, other: Facts) -> Facts:
        """Return both, with this one's count of moves: `other` was read later."""
        return Facts(moves=self.moves, rows=self.rows | other.rows)

    def scopes(self, key: RowKey) -> frozenset[str]:
        """Return the scopes that the row is in; none if it does not exist."""
        fact = self.rows.get(key)
        return fact.scopes if fact and fact.op is ChangeOp.UPSERT else frozenset()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StoredRow:
    """A row as the log holds it, JSON and all."""

    version: int
    payload: str
    scopes: frozenset[str]


def append(
    tenant_id: UUID,
    changes: Sequence[Change],
    *,
    moves: int,
    device_id: UUID | None,
    now: datetime.datetime,
    is_move: bool = False,
) -> int | None:
    """Write `changes` to the feed in their order; the last statement before COMMIT.

    Returns the new head; None, with nothing written, when scopes moved since `moves` was read.

    Raises:
        NeedsCare: a row that was taken for new has been there before, as its tombstone tells.
    """
    lines, seqs = _number(changes)
    parameters: dict[str, Any] = {
        "tenant": tenant_id,
        "seqs": seqs,
        "moved": int(is_move),
        "moves": moves,
        "changes": encode(lines).decode(),
        "device": device_id,
        "now": now,
    }
    with connection.cursor() as cursor:
        cursor.execute(_APPEND, parameters)
        written = cursor.fetchone()
    if written is not None and written[0] < len(lines):
        raise NeedsCare
    return None if written is None else int(written[1])


def read_payloads(tenant_id: UUID, keys: Iterable[RowKey]) -> dict[RowKey, StoredRow]:
    """Return the rows that `keys` name, as they are stored; deleted ones are left out."""
    with connection.cursor() as cursor:
        cursor.execute(_PAYLOADS, _key_parameters(tenant_id, keys))
        return {
            RowKey(collection, row_id): StoredRow(
                version=version, payload=payload, scopes=frozenset(scopes)
            )
            for collection, row_id, version, payload, scopes in cursor.fetchall()
        }


def read_facts(tenant_id: UUID, keys: Iterable[RowKey]) -> Facts:
    """Return what the log holds of `keys`, in one statement; opens a new tenant's stream."""
    with connection.cursor() as cursor:
        cursor.execute(_FACTS, _key_parameters(tenant_id, keys))
        found = cursor.fetchall()
        if not found:
            cursor.execute(_OPEN, [tenant_id, uuid.uuid4()])
            return Facts(moves=0, rows={})
    rows = {
        RowKey(collection, row_id): Fact(
            op=_OPS[op], version=version, scopes=frozenset(scopes), payload=payload
        )
        for _, collection, row_id, op, version, scopes, payload in found
        if collection is not None
    }
    return Facts(moves=found[0][0], rows=rows)


def lock_stream(tenant_id: UUID) -> None:
    """Take the stream's lock: from here on no scope moves until COMMIT."""
    with connection.cursor() as cursor:
        cursor.execute(_LOCK, [tenant_id])


def stream_of(actor: Actor) -> StreamState:
    """Return the stream of the actor's tenant, as it is or was when the actor was looked up."""
    return actor.stream or read_stream(actor.tenant_id)


def read_stream(tenant_id: UUID) -> StreamState:
    """Return the tenant's stream; opens it if the tenant is new."""
    with connection.cursor() as cursor:
        cursor.execute(_STREAM, [tenant_id])
        found = cursor.fetchone()
        if found is None:
            cursor.execute(_OPEN, [tenant_id, uuid.uuid4()])
            cursor.execute(_STREAM, [tenant_id])
            found = cursor.fetchone()
    epoch, head, floor = found
    return StreamState(epoch=epoch, head=head, floor=floor)


def _key_parameters(tenant_id: UUID, keys: Iterable[RowKey]) -> dict[str, Any]:
    asked: dict[str, list[str]] = {}
    for collection, row_id in keys:
        asked.setdefault(collection, []).append(row_id)
    return {"tenant": tenant_id, "keys": encode(asked).decode()}


def _number(changes: Sequence[Change]) -> tuple[list[dict[str, Any]], int]:
    """Give each change its seq, counted from the head; what a row leaves comes one before it."""
    lines: list[dict[str, Any]] = []
    seqs = 0
    for change in changes:
        seqs += 2 if change.left else 1
        lines.append(
            {
                "n": seqs,
                "collection": change.key.collection,
                "row_id": change.key.id,
                "op": change.op,
                "version": change.version,
                "payload": None if change.payload is None else Raw(change.payload),
                "digest": digest(change.key.id, change.version, change.payload),
                "bucket": bucket(change.key.id),
                "scopes": sorted(change.scopes),
                "left_scopes": sorted(change.left),
            }
        )
    return lines, seqs
