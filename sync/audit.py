"""The audit: proves for one tenant that rows and feed agree, or finds where they do not.

    the project's tables --storage--> wire form --compare--> sync_change -> sync_entry, sync_stream

It reads the tables of the sync itself, and not through the code that wrote them. All of a tenant
is read from one snapshot, so writers at work give no false alarms; and in chunks and by
server-side cursors, so that memory does not grow with the tenant.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
from django.db import connection

from sync import storage, transactions
from sync.findings import Finding, Kind
from sync.registry import Collection, ranked_collections
from sync.types import ChangeOp, RowState, Wire
from sync.wire import decode, digest

if TYPE_CHECKING:
    from uuid import UUID

CHUNK_ROWS: Final = 1_000  # rows in memory at once: with nested children, some megabytes
NAMED_MAX: Final = 5  # rows that a detail names

# A restored database has no statistics: PostgreSQL takes its tables for small, and would compare
# every row with every other. Whole tenants are joined here, which is what hashes are for.
_HASH = "SET LOCAL enable_nestloop TO off"
_COUNT = """
SELECT (SELECT count(*) FROM sync_change WHERE tenant_id = %(tenant)s),
       (SELECT count(*) FROM sync_entry WHERE tenant_id = %(tenant)s)
"""
_STREAM = "SELECT head, floor FROM sync_stream WHERE tenant_id = %(tenant)s"
_UNKNOWN = """
SELECT collection, count(*) FROM sync_change
WHERE tenant_id = %(tenant)s AND collection <> ALL(%(known)s) GROUP BY collection
"""
_OUT_OF_RANGE = """
SELECT collection, row_id, seq FROM sync_change
WHERE tenant_id = %(tenant)s AND (seq < 1 OR seq > %(head)s)
"""
# Other entries have the seq of their change, which is another check.
_EXIT_OUT_OF_RANGE = """
SELECT e.collection, e.row_id, e.scope, e.seq FROM sync_entry e JOIN sync_change c
    ON (c.tenant_id, c.collection, c.row_id) = (e.tenant_id, e.collection, e.row_id)
WHERE e.tenant_id = %(tenant)s AND e.op = 'scope_exit' AND (e.seq < 1 OR e.seq > %(head)s)
    AND NOT e.scope = ANY(c.scopes)
"""
_TWICE = """
SELECT seq, array_agg(collection || '/' || row_id ORDER BY collection, row_id) FROM (
    SELECT seq, collection, row_id FROM sync_change WHERE tenant_id = %(tenant)s
    UNION
    SELECT seq, collection, row_id FROM sync_entry
    WHERE tenant_id = %(tenant)s AND op = 'scope_exit'
) AS numbered GROUP BY seq HAVING count(*) > 1
"""
_TOMBSTONES = """
SELECT collection, row_id, version, digest FROM sync_change
WHERE tenant_id = %(tenant)s AND op = 'delete'
"""
_CHANGES = """
SELECT row_id, op, version, payload, digest, scopes FROM sync_change
WHERE tenant_id = %(tenant)s AND collection = %(collection)s AND row_id = ANY(%(ids)s)
"""
_WITHOUT_ROW = """
SELECT c.row_id, c.version FROM sync_change c
WHERE c.tenant_id = %(tenant)s AND c.collection = %(collection)s AND c.op = 'upsert'
    AND NOT EXISTS (
        SELECT 1 FROM {table} t WHERE t.tenant_id = c.tenant_id AND t.id::text = c.row_id)
"""
_OF_CHANGES = """
SELECT c.collection, c.row_id, held.scope, c.op, c.seq, e.op, e.seq
FROM sync_change c CROSS JOIN LATERAL unnest(c.scopes) AS held(scope)
LEFT JOIN sync_entry e ON e.tenant_id = c.tenant_id AND e.scope = held.scope
    AND e.collection = c.collection AND e.row_id = c.row_id
WHERE c.tenant_id = %(tenant)s AND (e.op IS DISTINCT FROM c.op OR e.seq IS DISTINCT FROM c.seq)
"""
# What a row had when it left a scope is summed up by nobody; its bucket must do for its return.
_SUMMED_WRONG = """
SELECT e.collection, e.row_id, e.scope, e.bucket, right_one.bucket
FROM sync_entry e JOIN sync_change c ON c.tenant_id = e.tenant_id
    AND c.collection = e.collection AND c.row_id = e.row_id
CROSS JOIN LATERAL get_byte(sha256(convert_to(e.row_id, 'UTF8')), 0) AS right_one(bucket)
WHERE e.tenant_id = %(tenant)s AND (e.bucket <> right_one.bucket
    OR e.digest <> c.digest AND (e.op, e.seq) = (c.op, c.seq))
"""
_OTHER_ENTRIES = """
SELECT e.collection, e.row_id, e.scope, e.op, e.seq, c.seq
FROM sync_entry e LEFT JOIN sync_change c ON c.tenant_id = e.tenant_id
    AND c.collection = e.collection AND c.row_id = e.row_id
WHERE e.tenant_id = %(tenant)s AND (c.seq IS NULL
    OR NOT e.scope = ANY(c.scopes)
        AND (e.op <> 'scope_exit' OR e.seq >= c.seq AND e.seq <= (
            SELECT head FROM sync_stream WHERE tenant_id = %(tenant)s)))
"""


@dataclasses.dataclass(slots=True, kw_only=True)
class Tally:
    """What has been looked at so far."""

    tenants: int = 0
    rows: int = 0
    changes: int = 0
    entries: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Logged:
    """A row as the feed has it."""

    op: str
    version: int
    payload: str | None
    digest: int
    scopes: list[str]


_Fault = tuple[Kind, str]  # what is wrong, in detail
_Place = tuple[str | None, str | None]  # collection, row; a feed as a whole has neither


def list_tenants() -> list[UUID]:
    """Return every tenant that has anything in a table of the sync."""
    tables = ["sync_stream", "sync_change", "sync_entry"]
    tables += [collection.table for collection in ranked_collections().values()]
    sql = " UNION ".join(f"SELECT tenant_id FROM {_quote(table)}" for table in tables)  # noqa: S608  # names come from models
    with connection.cursor() as cursor:
        cursor.execute(f"{sql} ORDER BY tenant_id")
        return [tenant_id for (tenant_id,) in cursor.fetchall()]


def check(
    tenant_id: UUID, tally: Tally, on_progress: Callable[[], None] = lambda: None
) -> Iterator[Finding]:
    """Yield all that is wrong with a tenant; count in `tally` what was looked at.

    `on_progress` is called after every chunk. Inside a transaction of the caller's, the snapshot
    is whatever that transaction sees.
    """
    is_inner = connection.in_atomic_block
    with transactions.snapshot():
        if not is_inner:
            with connection.cursor() as cursor:
                cursor.execute(_HASH)
        for (collection, row_id), (kind, detail) in _faults(tenant_id, tally, on_progress):
            yield Finding(
                tenant_id=tenant_id,
                kind=kind,
                detail=detail,
                collection=collection,
                row_id=row_id,
            )
        ((changes, entries),) = _read(_COUNT, tenant_id)
    tally.tenants += 1
    tally.changes += changes
    tally.entries += entries


def _faults(
    tenant_id: UUID, tally: Tally, on_progress: Callable[[], None]
) -> Iterator[tuple[_Place, _Fault]]:
    yield from _check_stream(tenant_id)
    for collection in ranked_collections().values():
        for states in storage.read_in_chunks(collection, tenant_id, CHUNK_ROWS):
            yield from _check_rows(tenant_id, collection, states)
            tally.rows += len(states)
            on_progress()
        yield from _check_rowless(tenant_id, collection)
    yield from _check_tombstones(tenant_id)
    yield from _check_entries(tenant_id)
    yield from _check_sums(tenant_id)


def _check_stream(tenant_id: UUID) -> Iterator[tuple[_Place, _Fault]]:
    """Check what is about the feed as a whole: its head, its numbers, its collections."""
    streams = list(_read(_STREAM, tenant_id))
    if not streams:
        yield (None, None), (Kind.STREAM_MISSING, "there is no stream")
    for head, floor in streams:
        if floor > head:
            yield (None, None), (Kind.FLOOR_ABOVE_HEAD, f"floor {floor}, head {head}")
        for name, row_id, seq in _read(_OUT_OF_RANGE, tenant_id, head=head):
            yield (name, row_id), (Kind.SEQ_OUT_OF_RANGE, f"seq {seq}, head {head}")
        for name, row_id, scope, seq in _read(_EXIT_OUT_OF_RANGE, tenant_id, head=head):
            detail = f"left scope {scope} at {seq}, head {head}"
            yield (name, row_id), (Kind.SEQ_OUT_OF_RANGE, detail)
    for seq, rows in _read(_TWICE, tenant_id):
        more = f" and {len(rows) - NAMED_MAX} more" if len(rows) > NAMED_MAX else ""
        name, _, row_id = rows[0].partition("/")
        detail = f"seq {seq} is that of {', '.join(rows[:NAMED_MAX])}{more}"
        yield (name, row_id), (Kind.SEQ_TWICE, detail)
    for name, count in _read(_UNKNOWN, tenant_id, known=list(ranked_collections())):
        yield (name, None), (Kind.COLLECTION_UNKNOWN, f"{count} changes")


def _check_rows(
    tenant_id: UUID, collection: Collection, states: Mapping[str, RowState]
) -> Iterator[tuple[_Place, _Fault]]:
    """Compare rows with their changes."""
    logged = _read_changes(tenant_id, collection.name, list(states))
    handed_down = _read_scopes_of_parents(tenant_id, collection, states)
    for row_id, state in states.items():
        for fault in _check_versions(state):
            yield (collection.name, row_id), fault
        for fault in _compare(collection, row_id, state, logged.get(row_id), handed_down):
            yield (collection.name, row_id), fault


def _check_versions(state: RowState) -> Iterator[_Fault]:
    if state.version < 1:
        yield Kind.VERSION_BELOW_ONE, f"version {state.version}"
    versions: Any = state.field_versions  # SQL by hand may have put anything there
    if not isinstance(versions, dict):
        yield Kind.FIELD_VERSION_WRONG, "field_versions is no object"
        return
    wrong = {
        name: version
        for name, version in versions.items()
        if type(version) is not int or not 1 <= version <= max(state.version, 1)
    }
    if wrong:
        yield Kind.FIELD_VERSION_WRONG, f"{wrong} in a row at version {state.version}"


def _compare(
    collection: Collection,
    row_id: str,
    state: RowState,
    logged: _Logged | None,
    handed_down: Mapping[str, list[str]],
) -> Iterator[_Fault]:
    if logged is None:
        yield Kind.ROW_UNLOGGED, f"version {state.version} has no change"
        return
    if logged.op == ChangeOp.DELETE:
        yield Kind.ROW_ENTOMBED, f"version {state.version}, tombstone {logged.version}"
        return
    if state.version != logged.version:
        yield Kind.VERSION_DIFFERS, f"row {state.version}, change {logged.version}"
    fields = _differing(state.data, logged.payload)
    if fields:
        yield Kind.PAYLOAD_DIFFERS, f"in {', '.join(fields)}"
    if logged.digest != digest(row_id, logged.version, _bytes(logged.payload)):
        yield Kind.DIGEST_DIFFERS, "not the checksum of version and payload"
    parent = state.data.get(collection.parent) if collection.parent else None
    if parent is not None and parent not in handed_down:
        return  # the parent is not in the feed; that is a finding of its own
    scopes = sorted({*collection.own_scopes(state.data), *handed_down.get(str(parent), [])})
    if scopes != sorted(logged.scopes):
        yield Kind.SCOPES_DIFFER, f"told to {sorted(logged.scopes)}, is in {scopes}"


def _bytes(payload: str | None) -> bytes | None:
    return None if payload is None else payload.encode()


def _differing(row: Wire, payload: str | None) -> list[str]:
    """Return the fields that the payload has otherwise; their values are for no log to hold."""
    try:
        told = decode(payload or "null")
    except msgspec.DecodeError:
        return ["all: it is no JSON"]
    if not isinstance(told, dict):
        return ["all: it is no object"]
    missing = object()
    names = sorted(row.keys() | told.keys())
    return [name for name in names if row.get(name, missing) != told.get(name, missing)]


def _check_rowless(tenant_id: UUID, collection: Collection) -> Iterator[tuple[_Place, _Fault]]:
    sql = _WITHOUT_ROW.format(table=_quote(collection.table))
    for row_id, version in _read(sql, tenant_id, collection=collection.name):
        yield (collection.name, row_id), (Kind.ROW_MISSING, f"change at version {version}")


def _check_tombstones(tenant_id: UUID) -> Iterator[tuple[_Place, _Fault]]:
    for name, row_id, version, checksum in _read(_TOMBSTONES, tenant_id):
        if version < 1:
            yield (name, row_id), (Kind.VERSION_BELOW_ONE, f"tombstone at version {version}")
        if checksum != digest(row_id, version, None):
            yield (name, row_id), (Kind.DIGEST_DIFFERS, "not the checksum of the tombstone")


def _check_entries(tenant_id: UUID) -> Iterator[tuple[_Place, _Fault]]:
    """Check that each scope's feed has what the changes say, and nothing else."""
    for name, row_id, scope, op, seq, entry_op, entry_seq in _read(_OF_CHANGES, tenant_id):
        if entry_op is None:
            fault = (Kind.ENTRY_MISSING, f"in scope {scope}")
        elif entry_op == ChangeOp.SCOPE_EXIT:
            fault = (Kind.EXIT_OF_HELD_SCOPE, f"left scope {scope} at {entry_seq}")
        else:
            detail = f"in scope {scope} {entry_op} at {entry_seq}, the change {op} at {seq}"
            fault = (Kind.ENTRY_DIFFERS, detail)
        yield (name, row_id), fault
    for name, row_id, scope, op, seq, change_seq in _read(_OTHER_ENTRIES, tenant_id):
        if change_seq is None:
            fault = (Kind.ENTRY_WITHOUT_CHANGE, f"in scope {scope}")
        elif op == ChangeOp.SCOPE_EXIT:
            detail = f"left scope {scope} at {seq}, its change is at {change_seq}"
            fault = (Kind.EXIT_AFTER_CHANGE, detail)
        else:
            fault = (Kind.ENTRY_LEFT_OVER, f"in scope {scope} {op} at {seq}")
        yield (name, row_id), fault


def _check_sums(tenant_id: UUID) -> Iterator[tuple[_Place, _Fault]]:
    """Check that digests are made of what the changes say."""
    for name, row_id, scope, bucket, right_one in _read(_SUMMED_WRONG, tenant_id):
        wrong = "by another digest" if bucket == right_one else f"in bucket {bucket}"
        yield (name, row_id), (Kind.ENTRY_SUMMED_WRONG, f"in scope {scope} {wrong}")


def _read_changes(tenant_id: UUID, name: str, ids: list[str]) -> dict[str, _Logged]:
    lines = _read(_CHANGES, tenant_id, collection=name, ids=ids)
    return {
        row_id: _Logged(op=op, version=version, payload=payload, digest=checksum, scopes=scopes)
        for row_id, op, version, payload, checksum, scopes in lines
    }


def _read_scopes_of_parents(
    tenant_id: UUID, collection: Collection, states: Mapping[str, RowState]
) -> dict[str, list[str]]:
    """Return the scopes of the rows that these take theirs from, as the feed has them, by id."""
    if collection.parent is None or collection.parent_collection is None:
        return {}
    ids = {state.data[collection.parent] for state in states.values()} - {None}
    changes = _read_changes(tenant_id, collection.parent_collection, list(ids))
    return {
        row_id: change.scopes for row_id, change in changes.items() if change.op == ChangeOp.UPSERT
    }


def _read(sql: str, tenant_id: UUID, **parameters: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the lines of a query, as they are fetched."""
    with connection.chunked_cursor() as cursor:
        cursor.execute(sql, {"tenant": tenant_id, **parameters})
        yield from cursor


def _quote(name: str) -> str:
    return connection.ops.quote_name(name)
