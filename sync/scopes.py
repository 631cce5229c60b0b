"""Which scopes a row is in, and who else moves when it moves.

    a row's scopes = its collection's `own_scopes` + the scopes of its parent row

A row that enters or leaves a scope takes all its descendants along, edited or not: a device that
is new to a site gets the site's history too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from sync.changelog import Facts, StoredRow, read_payloads
from sync.registry import Collection, heirs, ranked_collections
from sync.storage import child_ids
from sync.types import Change, ChangeOp, RowKey, Wire, Write
from sync.wire import decode

if TYPE_CHECKING:
    from uuid import UUID

Scopes = frozenset[str]


def find_resting(writes: Iterable[Write], facts: Facts) -> frozenset[RowKey]:
    """Return the rows whose edits leave them where they are, so that their scopes stay."""
    collections = ranked_collections()
    return frozenset(w.key for w in writes if _stays(collections[w.key.collection], w, facts))


def parent_keys(writes: Iterable[Write], resting: frozenset[RowKey]) -> set[RowKey]:
    """Return the rows that the written rows take scopes from; `resting` ones ask nobody."""
    collections = ranked_collections()
    found = set()
    for write in writes:
        if write.after is not None and write.key not in resting:
            key = _parent_key(collections[write.key.collection], write.after.data)
            if key is not None:
                found.add(key)
    return found


def changes_of(writes: Sequence[Write], facts: Facts, resting: frozenset[RowKey]) -> list[Change]:
    """Return what the feed is to say of `writes`, parents first, with scopes as `facts` has them.

    `facts` must cover the written rows and their `parent_keys`.
    """
    collections = ranked_collections()
    rank = {name: position for position, name in enumerate(collections)}
    now: dict[RowKey, Scopes] = {}
    changes = []
    for write in sorted(writes, key=lambda write: rank[write.key.collection]):
        before = facts.scopes(write.key)
        if write.after is None:
            changes.append(_deletion(write, before))
            continue
        collection = collections[write.key.collection]
        parent = _parent_key(collection, write.after.data)
        if write.key in resting and parent not in now:
            after = before
        else:
            own = frozenset(collection.own_scopes(write.after.data))
            after = own | _inherited(parent, now, facts)
        now[write.key] = after
        changes.append(
            Change(
                key=write.key,
                op=ChangeOp.UPSERT,
                version=write.version,
                payload=write.payload,
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


def with_descendants(tenant_id: UUID, changes: Sequence[Change], facts: Facts) -> list[Change]:
    """Return `changes`, and those that bring along everything below the rows that changed scopes.

    A row that was written in the same batch, below one that is only carried along, is told once:
    behind what it hangs below, in the scopes that it gets from there. Call it under the stream's
    lock: no row can appear below a moved one meanwhile.
    """
    told = {change.key: change for change in changes}
    logged = {key: facts.scopes(key) for key in told}
    level = [c for c in changes if c.op is ChangeOp.UPSERT and c.scopes != logged[c.key]]
    while level:
        inherited = _heirs_of(level, tenant_id)
        rows = read_payloads(tenant_id, inherited.keys() - told.keys())
        as_stored = {key: _as_stored(key, row) for key, row in rows.items()}
        logged |= {key: row.scopes for key, row in rows.items()}
        level = []
        for key, scopes in inherited.items():
            change = told.get(key) or as_stored.get(key)
            moved = change and _carried_along(change, scopes, logged[key])
            if change and moved and moved.scopes != change.scopes:
                told.pop(key, None)
                told[key] = moved
                level.append(moved)
    return list(told.values())


def _heirs_of(level: Sequence[Change], tenant_id: UUID) -> dict[RowKey, Scopes]:
    """Return the rows below `level`, with their parent's scopes."""
    by_collection: dict[str, dict[str, Scopes]] = {}
    for change in level:
        by_collection.setdefault(change.key.collection, {})[change.key.id] = change.scopes
    return {
        RowKey(heir.name, child_id): scopes_of[parent_id]
        for name, scopes_of in by_collection.items()
        for heir in heirs(name)
        for child_id, parent_id in child_ids(heir, tenant_id, scopes_of).items()
    }


def _as_stored(key: RowKey, row: StoredRow) -> Change:
    return Change(
        key=key,
        op=ChangeOp.UPSERT,
        version=row.version,
        payload=row.payload.encode(),
        scopes=row.scopes,
    )


def _carried_along(change: Change, inherited: Scopes, logged: Scopes) -> Change | None:
    """Return the change in the scopes that its row gets from a parent that moved."""
    if change.payload is None:
        return None  # deleted
    own = ranked_collections()[change.key.collection].own_scopes(decode(change.payload))
    scopes = inherited | own
    return replace(change, scopes=scopes, left=logged - scopes)


def _deletion(write: Write, scopes: Scopes) -> Change:
    return Change(
        key=write.key, op=ChangeOp.DELETE, version=write.version, payload=None, scopes=scopes
    )


def _inherited(parent: RowKey | None, now: Mapping[RowKey, Scopes], facts: Facts) -> Scopes:
    if parent is None:
        return frozenset()
    return now[parent] if parent in now else facts.scopes(parent)


def _stays(collection: Collection, write: Write, facts: Facts) -> bool:
    """Whether an edit leaves its row where it is: the same parent, the same scopes of its own."""
    fact = facts.rows.get(write.key)
    if write.before is None or write.after is None or fact is None:
        return False
    before, after = write.before.data, write.after.data
    is_logged = fact.op is ChangeOp.UPSERT and fact.version == write.before.version
    is_kept = collection.parent is None or before[collection.parent] == after[collection.parent]
    return is_logged and is_kept and collection.own_scopes(before) == collection.own_scopes(after)


def _parent_key(collection: Collection, row: Wire) -> RowKey | None:
    target = row.get(collection.parent) if collection.parent else None
    if target is None or collection.parent_collection is None:
        return None
    return RowKey(collection.parent_collection, target)
