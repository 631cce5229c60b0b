"""Carry out a batch of mutations inside the caller's transaction; push and local_edits share it.

    carry_out   validate -> lock -> read facts -> plan -> write rows     the caller then stores
    log         scopes -> changes -> one statement to the feed           its answer, and last: log

Locks are taken in one order: rows by (collection's rank, id), the stream last of all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from django.db import DataError, IntegrityError, transaction

from sync import changelog, scopes, storage, validation
from sync.database_verdict import explain
from sync.failpoints import Point, reach
from sync.plan import Batch, Plan, Rules, decide
from sync.refusals import does_not_exist, invalid
from sync.registry import Collection, ranked_collections
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
    Write,
)

if TYPE_CHECKING:
    import datetime

_DATABASE_REFUSALS_MAX = 4  # rounds of "plan without what the database refused"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What a batch came to: a result for every mutation, and the rows written."""

    results: list[Result]
    writes: list[Write]


def carry_out(
    actor: Actor, policy: Policy, mutations: Sequence[Mutation], now: datetime.datetime
) -> Carried:
    """Decide `mutations` and write the rows; the feed hears of it by `log`.

    Locks the targeted rows until COMMIT. The number of queries depends on the collections
    involved, not on the number of mutations.
    """
    checked, refused = validation.judge(mutations, actor)
    refused |= _unknown_references(checked, refused, actor)
    return _write(_read_batch(actor, policy, checked, refused), now)


def log(actor: Actor, writes: Sequence[Write], now: datetime.datetime) -> None:
    """Tell the feed of `writes`; must be the transaction's last statement."""
    if not writes:
        return
    keys = {write.key for write in writes} | scopes.parent_keys(writes)
    facts = changelog.read_facts(actor.tenant_id, keys)
    changes = scopes.changes_of(writes, facts)
    if not scopes.is_move(changes, facts) and _append(actor, changes, facts, now):
        return
    # A row with heirs changes scopes, here or meanwhile elsewhere: look again under the lock.
    changelog.lock_stream(actor.tenant_id)
    facts = changelog.read_facts(actor.tenant_id, keys)
    changes = scopes.changes_of(writes, facts)
    is_move = scopes.is_move(changes, facts)
    if is_move:
        changes += scopes.descendants(actor.tenant_id, changes, facts)
    if not _append(actor, changes, facts, now, is_move=is_move):
        message = "scopes moved under the stream's lock"
        raise AssertionError(message)


def _append(
    actor: Actor,
    changes: Sequence[Change],
    facts: changelog.Facts,
    now: datetime.datetime,
    *,
    is_move: bool = False,
) -> bool:
    return changelog.append(
        actor.tenant_id,
        changes,
        moves=facts.moves,
        device_id=actor.device_id,
        now=now,
        is_move=is_move,
    )


def _read_batch(
    actor: Actor,
    policy: Policy,
    mutations: Sequence[Mutation],
    refused: dict[int, Refusal],
) -> Batch:
    """Lock the targets and read all that the plan depends on."""
    targets = {mutation.key for mutation in mutations if mutation.index not in refused}
    references = set(_references(mutations, refused))
    rows: dict[RowKey, RowState] = {}
    for name, collection in ranked_collections().items():
        ids = [key.id for key in targets if key.collection == name]
        loaded = storage.load(collection, actor.tenant_id, ids)
        rows.update({RowKey(name, row_id): state for row_id, state in loaded.items()})
    reach(Point.LOCKED)
    facts = changelog.read_facts(actor.tenant_id, targets | references)
    return Batch(
        actor=actor,
        policy=policy,
        mutations=mutations,
        rules=_all_rules(mutations),
        rows={
            key: dataclasses.replace(state, scopes=facts.scopes(key))
            for key, state in rows.items()
        },
        tombstones={
            key: Tombstone(version=fact.version, scopes=fact.scopes)
            for key, fact in facts.rows.items()
            if fact.op is ChangeOp.DELETE and key not in rows
        },
        visible=frozenset(
            key
            for key in references
            if key in facts.rows
            and facts.rows[key].op is ChangeOp.UPSERT
            and actor.can_see(facts.scopes(key))
        ),
        refused=refused,
    )


def _write(batch: Batch, now: datetime.datetime) -> Carried:
    """Plan and write; what the database refuses is found by row, and planned without."""
    for _ in range(_DATABASE_REFUSALS_MAX):
        plan = decide(batch)
        reach(Point.PLANNED)
        _assign(plan, batch.actor)
        try:
            with transaction.atomic():
                storage.apply(plan.writes, batch.actor.tenant_id, now)
        except (DataError, IntegrityError):
            batch = _without_refused(batch, plan, now)
        else:
            reach(Point.APPLIED)
            return Carried(results=plan.results, writes=plan.writes)
    message = "the database kept refusing a batch whose rows it had accepted one by one"
    raise IntegrityError(message)


def _without_refused(batch: Batch, plan: Plan, now: datetime.datetime) -> Batch:
    """Return the batch with the mutations of the rows that the database refuses marked so."""
    refused = dict(batch.refused)
    last_of_row = {m.key: m.index for m in batch.mutations if m.index not in refused}
    for write, error in storage.find_refused(plan.writes, batch.actor.tenant_id, now):
        collection = ranked_collections()[write.key.collection]
        refused[last_of_row[write.key]] = explain(error, collection, write)
    return dataclasses.replace(batch, refused=refused)


def _assign(plan: Plan, actor: Actor) -> None:
    """Let collections fill in the server-given fields of new rows."""
    by_collection: dict[str, list[Write]] = {}
    for write in plan.writes:
        if write.before is None and write.after is not None:
            by_collection.setdefault(write.key.collection, []).append(write)
    for name, writes in by_collection.items():
        rows = {write.key.id: write.after.data for write in writes if write.after is not None}
        ranked_collections()[name].assign(actor, rows)


def _references(mutations: Iterable[Mutation], refused: dict[int, Refusal]) -> Iterable[RowKey]:
    for mutation in mutations:
        if mutation.index in refused or mutation.op is Op.DELETE:
            continue
        for reference in ranked_collections()[mutation.collection].references:
            target = mutation.data.get(reference.name)
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


def _all_rules(mutations: Iterable[Mutation]) -> dict[str, Rules]:
    """Return every collection's rules; what names no collection is refused before it needs any."""
    rules = {mutation.collection: Rules() for mutation in mutations}
    for rank, (name, collection) in enumerate(ranked_collections().items()):
        rules[name] = _rules(collection, rank)
    return rules


def _rules(collection: Collection, rank: int) -> Rules:
    return Rules(
        rank=rank,
        conflicts=type(collection).conflicts,  # a function stays one; it is no method
        references={
            reference.name: reference.collection
            for reference in collection.references
            if reference.collection is not None
        },
        parent=collection.parent,
        server_fields=collection.server_fields,
        judge=collection.judge,
    )
