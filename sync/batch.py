"""Carry out a batch of mutations inside the caller's transaction; push and local_edits share it.

    carry_out   validate -> lock -> read facts -> plan -> write rows     the caller then stores
    log         scopes -> changes -> one statement to the feed           its answer, and last: log

Locks are taken in one order: rows by (collection's rank, id), the stream last of all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from django.db import transaction
from msgspec.structs import replace

from sync import changelog, pokes, scopes, storage, validation
from sync.database_verdict import REFUSALS, explain, is_refusal, misses_a_row
from sync.errors import NeedsCare
from sync.failpoints import Point, reach
from sync.plan import Batch, decide
from sync.refusals import does_not_exist, invalid
from sync.registry import Collection, ranked_collections, ranked_rules
from sync.types import (
    Actor,
    Change,
    ChangeOp,
    Mutation,
    Op,
    Policy,
    Refusal,
    Result,
    RowKey,
    RowState,
    Tombstone,
    Wire,
    Write,
)
from sync.wire import decode, render_payload

if TYPE_CHECKING:
    import datetime


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What a batch came to: a result for every mutation, the rows written, what the log held."""

    results: list[Result]
    writes: list[Write]
    facts: changelog.Facts


def carry_out(
    actor: Actor,
    policy: Policy,
    mutations: Sequence[Mutation],
    now: datetime.datetime,
    *,
    with_care: bool = True,
) -> Carried:
    """Decide `mutations` and write the rows; the feed hears of it by `log`.

    Locks the targeted rows until COMMIT. The number of queries depends on the collections
    involved, not on the number of mutations. Without care, rows that are to be created are not
    looked up before, and what the database refuses is not looked into.

    Raises:
        NeedsCare: an id is known, here or in `log`, or the database refused; roll back, and carry
            out again with care.
    """
    checked, refused = validation.judge(mutations, actor)
    refused |= _unknown_references(checked, refused, actor)
    new = frozenset[RowKey]() if with_care else _new_rows(checked, refused)
    batch, facts = _read_batch(actor, policy, checked, refused, new)
    results, writes = _write(batch, now) if with_care else _write_in_hope(batch, new, now)
    return Carried(results=results, writes=writes, facts=facts)


def log(actor: Actor, carried: Carried, now: datetime.datetime) -> None:
    """Tell the feed of what was written; must be the transaction's last statement.

    Raises:
        NeedsCare: as `carry_out`; or rows that it rested on came to the actor, or left, meanwhile.
    """
    writes, facts = carried.writes, carried.facts
    if not writes:
        return
    resting = _find_resting(actor, writes, facts)
    parents = scopes.parent_keys(writes, resting)
    unread = parents - facts.rows.keys() - {write.key for write in writes}
    if unread:  # a move between the two reads is noticed too: the first one's count is kept
        facts |= changelog.read_facts(actor.tenant_id, unread)
    changes = scopes.changes_of(writes, facts, resting)
    if not scopes.is_move(changes, facts) and _append(actor, changes, facts, now):
        return
    # A row with heirs changes scopes, here or meanwhile elsewhere: look again under the lock.
    changelog.lock_stream(actor.tenant_id)
    before = facts
    asked = before.rows.keys() | {write.key for write in writes} | parents
    facts = changelog.read_facts(actor.tenant_id, asked)
    if any(actor.can_see(facts.scopes(k)) != actor.can_see(before.scopes(k)) for k in asked):
        raise NeedsCare  # decided on rows that have come to the actor since, or left
    changes = scopes.changes_of(writes, facts, _find_resting(actor, writes, facts))
    is_move = scopes.is_move(changes, facts)
    if is_move:
        changes = scopes.with_descendants(actor.tenant_id, changes, facts)
    if not _append(actor, changes, facts, now, is_move=is_move):
        message = "scopes moved under the stream's lock"
        raise AssertionError(message)


def _find_resting(
    actor: Actor, writes: Sequence[Write], facts: changelog.Facts
) -> frozenset[RowKey]:
    """Return the rows that need no new look at their scopes; the office's edits mend those."""
    return frozenset() if actor.is_system else scopes.find_resting(writes, facts)


def _append(
    actor: Actor,
    changes: Sequence[Change],
    facts: changelog.Facts,
    now: datetime.datetime,
    *,
    is_move: bool = False,
) -> bool:
    head = changelog.append(
        actor.tenant_id,
        changes,
        moves=facts.moves,
        device_id=actor.device_id,
        now=now,
        is_move=is_move,
    )
    if head is not None:
        pokes.announce(actor.tenant_id, changes, head)
    return head is not None


def _read_batch(
    actor: Actor,
    policy: Policy,
    mutations: Sequence[Mutation],
    refused: dict[int, Refusal],
    new: frozenset[RowKey],
) -> tuple[Batch, changelog.Facts]:
    """Lock the targets, but for `new` ones, and read all that the plan depends on."""
    targets: dict[str, set[str]] = {}
    for mutation in mutations:
        if mutation.index not in refused and mutation.key not in new:
            targets.setdefault(mutation.collection, set()).add(mutation.id)
    references = set(_references(mutations, refused))
    locked = {
        name: storage.lock(collection, actor.tenant_id, targets[name])
        for name, collection in ranked_collections().items()
        if name in targets
    }
    reach(Point.LOCKED)
    keys = {RowKey(name, row_id) for name, ids in targets.items() for row_id in ids}
    facts = changelog.read_facts(actor.tenant_id, keys | references)
    rows = _rows(actor, locked, facts)
    tombstones = {
        key: Tombstone(version=fact.version, scopes=fact.scopes)
        for key, fact in facts.rows.items()
        if fact.op is ChangeOp.DELETE and key not in rows
    }
    visible = frozenset(
        key
        for key in references & facts.rows.keys()
        if facts.rows[key].op is ChangeOp.UPSERT and actor.can_see(facts.rows[key].scopes)
    )
    batch = Batch(
        actor=actor,
        policy=policy,
        mutations=mutations,
        rules=ranked_rules(),
        rows=rows,
        tombstones=tombstones,
        visible=visible,
        refused=refused,
    )
    return batch, facts


def _new_rows(mutations: Sequence[Mutation], refused: Mapping[int, Refusal]) -> frozenset[RowKey]:
    """Return the rows that the batch first of all creates: likely ones that do not exist yet."""
    first_ops: dict[RowKey, Op] = {}
    for mutation in mutations:
        if mutation.index not in refused:
            first_ops.setdefault(mutation.key, mutation.op)
    return frozenset(key for key, op in first_ops.items() if op is Op.CREATE)


def _rows(
    actor: Actor, locked: Mapping[str, Mapping[str, storage.Locked]], facts: changelog.Facts
) -> dict[RowKey, RowState]:
    """Return the locked rows with their values: for a device those that the log last told.

    The office works on the tables themselves, and so mends what somebody wrote past the engine
    (`sync_check` finds that); so does a device with a row that the log does not know as it is.
    """
    rows: dict[RowKey, RowState] = {}
    for name, of_collection in locked.items():
        unread = []
        for row_id, row in of_collection.items():
            key = RowKey(name, row_id)
            state = None if actor.is_system else _told(row, facts.rows.get(key))
            if state is None:
                unread.append(row_id)
            else:
                rows[key] = state
        if unread:
            found = storage.read_rows(ranked_collections()[name], actor.tenant_id, unread)
            for row_id, state in found.items():
                key = RowKey(name, row_id)
                rows[key] = replace(state, scopes=facts.scopes(key))
    return rows


def _told(row: storage.Locked, fact: changelog.Fact | None) -> RowState | None:
    """Return the row as the log tells it, None if that is not the version that is stored."""
    if fact is None or fact.payload is None or fact.version != row.version:
        return None
    return RowState(
        version=row.version,
        field_versions=row.field_versions,
        data=decode(fact.payload),
        scopes=fact.scopes,
    )


def _write_in_hope(
    batch: Batch, new: frozenset[RowKey], now: datetime.datetime
) -> tuple[list[Result], list[Write]]:
    """Plan and write, without the savepoint that looking into a refusal would need.

    That `new` rows are new is proved by inserting them. Of those that the plan leaves out nothing
    is proved, and what it says of them may be wrong.
    """
    results, writes = _plan(batch)
    inserted = {write.key for write in writes if write.before is None}
    if not new <= inserted:
        raise NeedsCare
    try:
        storage.apply(writes, batch.actor.tenant_id, now)
    except REFUSALS as error:
        if not is_refusal(error):
            raise
        raise NeedsCare from error
    reach(Point.APPLIED)
    return results, writes


def _write(batch: Batch, now: datetime.datetime) -> tuple[list[Result], list[Write]]:
    """Plan and write; what the database refuses is found by row, and planned without."""
    for _ in range(len(batch.mutations) + 1):  # each round but the last refuses some more
        results, writes = _plan(batch)
        with transaction.atomic():
            refused = storage.apply_by_halves(writes, batch.actor.tenant_id, now)
            transaction.set_rollback(bool(refused))
        if not refused:
            reach(Point.APPLIED)
            return results, writes
        batch = _without(batch, refused)
    message = "rows were refused that are not there any more"
    raise AssertionError(message)


def _plan(batch: Batch) -> tuple[list[Result], list[Write]]:
    """Decide, and complete the rows to write."""
    plan = decide(batch)
    reach(Point.PLANNED)
    _assign(plan.writes, batch.actor)
    return plan.results, [_rendered(write) for write in plan.writes]


def _rendered(write: Write) -> Write:
    if write.after is None:
        return write
    return replace(write, payload=render_payload(write.after.data))


def _without(batch: Batch, refused: Sequence[tuple[Write, Exception]]) -> Batch:
    """Return the batch with the rows that the database refuses marked so.

    Which of a row's mutations is to blame cannot be asked; the others fall with the last of them.
    A row that only missed another one of these is not marked: planned without that one, it says
    whom it waited for. Some row always is, since new rows name each other in no circle.
    """
    known = dict(batch.refused)
    last_of_row = {m.key: m.index for m in batch.mutations if m.index not in known}
    unmade = {write.key for write, _ in refused if write.before is None}
    for write, error in refused:
        collection = ranked_collections()[write.key.collection]
        named = _named_rows(collection, write.after.data) if write.after else ()
        if misses_a_row(error) and not unmade.isdisjoint(named):
            continue
        known[last_of_row[write.key]] = explain(error, collection, write)
    return dataclasses.replace(batch, refused=known)


def _assign(writes: Iterable[Write], actor: Actor) -> None:
    """Let collections fill in the server-given fields of new rows."""
    by_collection: dict[str, list[Write]] = {}
    for write in writes:
        if write.before is None and write.after is not None:
            by_collection.setdefault(write.key.collection, []).append(write)
    for name, new in by_collection.items():
        rows = {write.key.id: write.after.data for write in new if write.after is not None}
        ranked_collections()[name].assign(actor, rows)


def _references(mutations: Iterable[Mutation], refused: dict[int, Refusal]) -> Iterable[RowKey]:
    for mutation in mutations:
        if mutation.index in refused or mutation.op is Op.DELETE:
            continue
        yield from _named_rows(ranked_collections()[mutation.collection], mutation.data)


def _named_rows(collection: Collection, data: Wire) -> Iterable[RowKey]:
    """Return the rows that these fields refer to."""
    for reference in collection.references:
        target = data.get(reference.name)
        if target is not None and reference.collection is not None:
            yield RowKey(reference.collection, target)


def _unknown_references(
    mutations: Sequence[Mutation], refused: dict[int, Refusal], actor: Actor
) -> dict[int, Refusal]:
    """Ask what is not synced (users, say) for all ids of the batch at once."""
    found: dict[int, Refusal] = {}
    for name, collection in ranked_collections().items():
        of_collection = [m for m in mutations if m.collection == name and m.index not in refused]
        for reference in collection.references:
            if reference.known is None or not of_collection:
                continue
            ids = {m.data[reference.name] for m in of_collection if m.data.get(reference.name)}
            unknown = ids - reference.known(actor.tenant_id, ids) if ids else set()
            for mutation in of_collection:
                if mutation.data.get(reference.name) in unknown:
                    found[mutation.index] = invalid([does_not_exist(reference.name)])
    return found
