"""Which scopes a row is in, and who else moves when it moves.

    a row's scopes = its collection's `own_scopes` + the scopes of its parent row

A row that enters or leaves a scope takes all its descendants along, edited or not: a device that
is new to a site gets the site's history too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from sync.changelog import Facts, StoredRow, read_payloads
from sync.registry import Collection, heirs, ranked_collections
from sync.storage import child_ids
from sync.types import Change, ChangeOp, RowKey, Wire, Write
from sync.wire import decode, render_payload

if TYPE_CHECKING:
    from uuid import UUID

Scopes = frozenset[str]


def parent_keys(writes: Iterable[Write]) -> set[RowKey]:
    """Return the rows that the written rows take scopes from."""
    found = set()
    for write in writes:
        if write.after is not None:
            key = _parent_key(ranked_collections()[write.key.collection], write.after.data)
            if key is not None:
                found.add(key)
    return found


def changes_of(writes: Sequence[Write], facts: Facts) -> list[Change]:
    """Return what the feed is to say of `writes`, parents first, with scopes as `facts` has them.

    `facts` must cover the written rows and `parent_keys(writes)`.
    """
    rank = {name: position for position, name in enumerate(ranked_collections())}
    now: dict[RowKey, Scopes] = {}
    changes = []
    for write in sorted(writes, key=lambda write: rank[write.key.collection]):
        before = facts.scopes(write.key)
        if write.after is None:
            changes.append(_deletion(write, before))
            continue
        after = _scopes_of(write.key, write.after.data, now, facts)
        now[write.key] = after
        changes.append(
            Change(
                key=write.key,
                op=ChangeOp.UPSERT,
                version=write.version,
                payload=render_payload(write.after.data),
                scopes=after,
                left=before - after,
            )
        )
    return changes


def is_move(changes: Iterable[Change], facts: Facts) -> bool:
    """Whether a row that hands its scopes down changed them."""
    return any(
        change.op is ChangeOp.UPSERT
        and change.key in facts.rows
        and facts.scopes(change.key) != change.scopes
        and heirs(change.key.collection)
        for change in changes
    )


def descendants(tenant_id: UUID, changes: Sequence[Change], facts: Facts) -> list[Change]:
    """Return the changes that bring along everything below the rows that changed scopes.

    Call it under the stream's lock: no row can appear below a moved one meanwhile.
    """
    known = {change.key for change in changes}
    found: list[Change] = []
    level: Sequence[Change] = [c for c in changes if _is_moved(c, facts.scopes(c.key))]
    while level:
        parents = _heirs_of(level, tenant_id, known)
        stored = read_payloads(tenant_id, parents)
        level = [
            change
            for key, row in stored.items()
            if _is_moved(change := _carried_along(key, row, parents[key]), row.scopes)
        ]
        found += level
        known.update(change.key for change in level)
    return found


def _is_moved(change: Change, before: Scopes) -> bool:
    return change.op is ChangeOp.UPSERT and change.scopes != before


def _heirs_of(
    level: Sequence[Change], tenant_id: UUID, known: set[RowKey]
) -> dict[RowKey, Scopes]:
    """Return the rows below `level` that are not known yet, with their parent's scopes."""
    by_collection: dict[str, dict[str, Scopes]] = {}
    for change in level:
        by_collection.setdefault(change.key.collection, {})[change.key.id] = change.scopes
    found = {}
    for name, scopes_of in by_collection.items():
        for heir in heirs(name):
            for child_id, parent_id in child_ids(heir, tenant_id, scopes_of).items():
                key = RowKey(heir.name, child_id)
                if key not in known:
                    found[key] = scopes_of[parent_id]
    return found


def _carried_along(key: RowKey, row: StoredRow, inherited: Scopes) -> Change:
    """Return the change of a row that nobody edited: the same version and JSON in new scopes."""
    own = ranked_collections()[key.collection].own_scopes(decode(row.payload))
    scopes = inherited | own
    return Change(
        key=key,
        op=ChangeOp.UPSERT,
        version=row.version,
        payload=row.payload,
        scopes=scopes,
        left=row.scopes - scopes,
    )


def _deletion(write: Write, scopes: Scopes) -> Change:
    return Change(
        key=write.key, op=ChangeOp.DELETE, version=write.version, payload=None, scopes=scopes
    )


def _scopes_of(key: RowKey, row: Wire, now: Mapping[RowKey, Scopes], facts: Facts) -> Scopes:
    collection = ranked_collections()[key.collection]
    own = frozenset(collection.own_scopes(row))
    parent = _parent_key(collection, row)
    if parent is None:
        return own
    return own | (now[parent] if parent in now else facts.scopes(parent))


def _parent_key(collection: Collection, row: Wire) -> RowKey | None:
    target = row.get(collection.parent) if collection.parent else None
    if target is None or collection.parent_collection is None:
        return None
    return RowKey(collection.parent_collection, target)
