"""What a scope set sees of the log, as lines of JSON that PostgreSQL renders; and the sets' names.

    read_page    what happened between two seqs: the entries of all scopes, merged by seq
    read_exits   what a scope that was lost has entries of, by collection and id
    remember, recall   scope sets, under their own hash

A row's JSON is spliced into its line where it is stored, so a page is one value that goes on the
wire as it comes: no row is looked at in Python. Pages are fetched by the caller's `fetch`, which
chooses the database; sets are the primary's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from django.db import connection

from sync.read_replica import Fetch
from sync.scope_set import ScopeSet, Slice
from sync.types import Actor, RowKey

if TYPE_CHECKING:
    from uuid import UUID


FEW_SCOPES: Final = 4  # so many are simply looked through, a page of each

# Where the page ends is found first, in the index alone: the n-th seq of a part never comes before
# the n-th of all. A rough end from the first `few` of each scope, then the end from the first
# `many` before that; and what is read, sorted and rendered is a page, however much lies behind it,
# also where one scope has nearly all. (Scopes merged in one go would be sorted whole, each time.)
_NTH = """
    SELECT DISTINCT e.seq FROM unnest(%(scopes)s::text[]) AS held(scope)
    CROSS JOIN LATERAL (
        SELECT seq FROM sync_entry WHERE tenant_id = %(tenant)s AND scope = held.scope
            AND seq > %(after)s AND seq <= {until} ORDER BY seq LIMIT {first}) AS e
    ORDER BY e.seq OFFSET %(limit)s - 1 LIMIT 1
"""
_ENDS = f"""
rough AS MATERIALIZED (
    SELECT coalesce(({_NTH.format(until="%(until)s", first="%(few)s")}), %(until)s) AS seq
), page AS MATERIALIZED (
    SELECT coalesce(({_NTH.format(until="(SELECT seq FROM rough)", first="%(many)s")}),
        %(until)s) AS seq
)
"""  # noqa: S608  # constants, here and below
_NAMES = "to_json(line.collection) || ',\"id\":' || to_json(line.row_id)"
# Of a `line` of entries and its change `c`; `device` is who asks.
UPSERT: Final = f"""
'{{"op":"upsert","collection":' || {_NAMES} || ',"version":' || c.version
    || CASE WHEN c.device_id = %(device)s THEN ',"own":true' ELSE ',"own":false' END
    || ',"data":' || c.payload || '}}'
"""
_DELETE = f"""'{{"op":"delete","collection":' || {_NAMES} || ',"version":' || c.version || '}}'"""
_EXIT = f"""'{{"op":"scope_exit","collection":' || {_NAMES} || '}}'"""
# The inner LIMIT keeps each row an index look-up, whatever the statistics of the table say.
OF_LINES: Final = """
FROM line LEFT JOIN LATERAL (
    SELECT op, version, scopes, payload, device_id FROM sync_change
    WHERE tenant_id = %(tenant)s AND collection = line.collection AND row_id = line.row_id
    LIMIT 1
) AS c ON true
"""
# Of the page's own snapshot: what was pruned since the cursor was judged is missing in the page.
_FLOOR = "(SELECT floor FROM sync_stream WHERE tenant_id = %(tenant)s)"
# Scope by scope: all at once, on tables without statistics, they were looked up in another index.
_PAGE = f"""
WITH {_ENDS}, line AS MATERIALIZED (
    SELECT DISTINCT ON (e.seq) e.* FROM unnest(%(scopes)s::text[]) AS held(scope)
    CROSS JOIN LATERAL (
        SELECT seq, op, collection, row_id FROM sync_entry
        WHERE tenant_id = %(tenant)s AND scope = held.scope
            AND seq > %(after)s AND seq <= (SELECT seq FROM page)
            AND (%(collections)s::text[] IS NULL OR collection = ANY(%(collections)s::text[]))
        ORDER BY seq LIMIT %(limit)s
    ) AS e
    ORDER BY e.seq LIMIT %(limit)s
)
SELECT string_agg(json, %(border)s), count(json), count(*), max(seq), (SELECT seq FROM page),
    {_FLOOR}
FROM (
    SELECT line.seq, CASE
        WHEN line.op = 'upsert' THEN {UPSERT}
        WHEN line.seq <= %(live_until)s THEN NULL
        WHEN line.op = 'delete' THEN {_DELETE}
        ELSE {_EXIT}
    END AS json {OF_LINES} ORDER BY line.seq
) AS told
"""  # noqa: S608
# A row that the device may see all the same is left out; what left the scope or was deleted before
# the device's place in the feed, it was told.
_EXITS = f"""
WITH line AS (
    SELECT op, collection, row_id FROM sync_entry
    WHERE tenant_id = %(tenant)s AND scope = %(scope)s
        AND (collection, row_id) > (%(collection)s, %(row)s)
        AND (op = 'upsert' OR seq > %(seq)s)
        AND (%(collections)s::text[] IS NULL OR collection = ANY(%(collections)s::text[]))
    ORDER BY collection, row_id LIMIT %(limit)s
)
SELECT string_agg(json, %(border)s), count(json), count(*), (
    SELECT ARRAY[collection, row_id] FROM line ORDER BY collection DESC, row_id DESC LIMIT 1),
    {_FLOOR}
FROM (
    SELECT CASE
        WHEN c.op = 'delete' THEN {_DELETE}
        WHEN c.scopes::text[] && %(to_scopes)s::text[] AND (
            %(to_collections)s::text[] IS NULL
            OR line.collection = ANY(%(to_collections)s::text[])) THEN NULL
        ELSE {_EXIT}
    END AS json {OF_LINES}
) AS told
"""  # noqa: S608

_REMEMBER = """
INSERT INTO sync_scope_set (tenant_id, digest, scopes, collections)
VALUES (%s, %s, %s::text[], %s::text[]) ON CONFLICT DO NOTHING
"""
_RECALL = """
SELECT digest, scopes, collections FROM sync_scope_set
WHERE tenant_id = %s AND digest = ANY(%s::bytea[])
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Up to `limit` entries with `after` < seq <= `until`; `until` is at most a head read before.

    What was deleted or left up to `live_until` is not told.
    """

    after: int
    until: int
    live_until: int
    limit: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Changes as JSON, `told` of them out of `scanned` entries; all up to `reached` are in it.

    Up to `floor`, tombstones are missing.
    """

    json: bytes
    told: int
    scanned: int
    floor: int = 0
    reached: int = 0
    last: RowKey | None = None


NOTHING: Final = Lines(json=b"", told=0, scanned=0)


def read_page(actor: Actor, what: Slice, window: Window, *, border: str, fetch: Fetch) -> Lines:
    """Return the changes of `window` that `what` sees, in order of seq, with `border` in between.

    A change in several of the scopes is there once.
    """
    if not what:
        return Lines(json=b"", told=0, scanned=0, reached=window.until)
    parameters: dict[str, Any] = {
        "tenant": actor.tenant_id,
        "device": actor.device_id,
        "scopes": list(what.scopes),
        "collections": _listed(what.collections),
        "border": border,
        "after": window.after,
        "until": window.until,
        "live_until": window.live_until,
        "limit": window.limit,
    } | _looks(window, len(what.scopes))
    ((json, told, scanned, last, bound, floor),), head = fetch(
        _PAGE, parameters, beyond=window.after, is_raw=True
    )
    reached = last if scanned == window.limit else bound
    if head is not None:
        reached = min(reached, head)  # there is nothing above it; on the primary there may be
    return Lines(json=json or b"", told=told, scanned=scanned, floor=floor, reached=reached)


def read_exits(  # noqa: PLR0913  # each says something else of what is to be let go
    actor: Actor,
    scope: str,
    collections: frozenset[str] | None,
    *,
    seq: int,
    to: ScopeSet,
    after: RowKey | None,
    limit: int,
    border: str,
    fetch: Fetch,
) -> Lines:
    """Return what a device that has read up to `seq` is to let go of a scope that it lost.

    Rows that `to` sees are kept. Up to `limit` entries, those that come behind `after`.
    """
    name, row_id = after or ("", "")
    parameters: dict[str, Any] = {
        "tenant": actor.tenant_id,
        "scope": scope,
        "collections": _listed(collections),
        "seq": seq,
        "collection": name,
        "row": row_id,
        "to_scopes": sorted(to.scopes),
        "to_collections": _listed(to.collections),
        "border": border,
        "limit": limit,
    }
    ((json, told, scanned, last, floor),), _ = fetch(_EXITS, parameters)
    return Lines(
        json=(json or "").encode(),
        told=told,
        scanned=scanned,
        floor=floor,
        last=RowKey(*last) if last else None,
    )


def remember(tenant_id: UUID, sets: Iterable[ScopeSet]) -> None:
    """Store scope sets, so that cursors can name them."""
    lines = [(tenant_id, s.digest, sorted(s.scopes), _listed(s.collections)) for s in sets]
    with connection.cursor() as cursor:
        cursor.executemany(_REMEMBER, lines)


def recall(tenant_id: UUID, digests: Iterable[bytes]) -> dict[bytes, ScopeSet]:
    """Return the sets that were stored under these hashes."""
    with connection.cursor() as cursor:
        cursor.execute(_RECALL, [tenant_id, list(digests)])
        return {
            bytes(digest): ScopeSet(
                frozenset(scopes), None if collections is None else frozenset(collections)
            )
            for digest, scopes, collections in cursor.fetchall()
        }


def _looks(window: Window, scopes: int) -> dict[str, int]:
    """Return how much of each scope to look at for the end of a page; 0 for not at all."""
    if window.until - window.after <= window.limit:
        return {"few": 0, "many": 0}  # seqs are dense: it is a page, or less
    few = 0 if scopes <= FEW_SCOPES else 2 * window.limit // scopes + 16
    return {"few": few, "many": window.limit}


def _listed(names: frozenset[str] | None) -> list[str] | None:
    return None if names is None else sorted(names)
