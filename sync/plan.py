"""The heart of a push: decide what becomes of each mutation. Pure; no database in it.

    (mutations, rows as they are, rules, actor) -> results, one a mutation, and the rows to write

One rule serves every policy: *a group is applied whole or not at all*. A push under
`all_or_nothing` is one group; under `per_row` each row is one, and mutations that name a group
join their rows. When a group falls after some of it had been applied, the batch is decided again
without it, until none falls: see `order` for why that ends and never takes back a verdict.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import assert_never

from msgspec.structs import replace

from sync.order import dependency_order, groups
from sync.refusals import (
    BASE_REQUIRED,
    GONE,
    ID_TAKEN,
    NOT_FOUND,
    conflict,
    create_refused,
    dependency_failed,
    does_not_exist,
    group_refused,
    invalid,
    refuse,
)
from sync.types import (
    Actor,
    ConflictPolicy,
    Mutation,
    Op,
    Outcome,
    Policy,
    Refusal,
    Result,
    RowKey,
    RowState,
    Tombstone,
    Wire,
    Write,
)
from sync.versioning import (
    Merges,
    Resolver,
    changed_fields,
    combine,
    edited_children,
    overtaken_fields,
    stamp,
    whole_lists,
)

Judge = Callable[[Actor, Wire | None, Wire | None], Refusal | None]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a collection declares, as far as a decision needs it.

    `references` maps a field to the collection whose row it names. `parent` is the one of them
    whose absence is `dependency_failed` rather than `invalid`. `merges` has the lists of children
    of which an update sends edits by id; each child counts as a field of its own, `list.<id>`.
    """

    rank: int = 0  # parents have lower ranks than what refers to them
    conflicts: ConflictPolicy | Resolver = ConflictPolicy.REJECT
    references: Mapping[str, str] = dataclasses.field(default_factory=dict)
    parent: str | None = None
    server_fields: frozenset[str] = frozenset()
    merges: Merges = dataclasses.field(default_factory=dict)
    judge: Judge = lambda _actor, _before, _after: None

    def self_references(self, name: str) -> tuple[str, ...]:
        """Return the fields that name rows of the collection itself, which is called `name`."""
        return tuple(field for field, to in self.references.items() if to == name)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """All that a decision depends on.

    `mutations` carry validated data: the whole row for a create, the fields sent for an update.
    `rows` holds every targeted row that exists, `tombstones` those that were deleted,
    `visible` every referenced row that exists for the actor. `refused` are mutations already
    found wanting (validation, the database), by index.
    """

    actor: Actor
    policy: Policy
    mutations: Sequence[Mutation]
    rules: Mapping[str, Rules]
    rows: Mapping[RowKey, RowState]
    tombstones: Mapping[RowKey, Tombstone] = dataclasses.field(default_factory=dict)
    visible: frozenset[RowKey] = frozenset()
    refused: Mapping[int, Refusal] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The verdict: `results` in the order of the mutations, `writes` parents first."""

    results: list[Result]
    writes: list[Write]


def decide(batch: Batch) -> Plan:
    """Return what becomes of every mutation, and the rows to write.

    The same batch always gives the same plan. A refused mutation changes nothing: the plan's
    writes are those of the batch without the groups that fell.
    """
    order = dependency_order(
        batch.mutations,
        {name: rules.rank for name, rules in batch.rules.items()},
        {name: rules.self_references(name) for name, rules in batch.rules.items()},
        batch.rows,
    )
    group_of = groups(batch.mutations, batch.policy)
    attempt = _Attempt(batch, group_of)
    attempt.run(order)
    while attempt.has_lost_ground:  # ends: each round excludes at least one more group
        attempt = _Attempt(batch, group_of, attempt)
        attempt.run(order)
    results = [attempt.results[mutation.index] for mutation in batch.mutations]
    return Plan(results=results, writes=attempt.writes())


class _Attempt:
    """One pass over the batch, on a copy of the rows, without the groups that fell before it."""

    def __init__(
        self, batch: Batch, group_of: Mapping[int, int], last: _Attempt | None = None
    ) -> None:
        self.batch = batch
        self.group_of = group_of
        self.excluded: dict[int, int] = (
            dict(last.fallen) if last else {}
        )  # group -> index of its first culprit
        self.culprits: dict[int, Result] = dict(last.culprits) if last else {}
        self.fallen: dict[int, int] = dict(self.excluded)
        self.results: dict[int, Result] = {}
        self.has_lost_ground: bool = False  # rows hold effects of a group that fell in this pass
        self._rows: dict[RowKey, RowState | None] = {}
        self._ended: dict[RowKey, int] = {}  # rows deleted by this push -> version that did it
        self._own_edits: dict[RowKey, frozenset[str]] = {}  # of rows that were there before
        self._failed_creates: dict[RowKey, int] = {}
        self._touched: set[int] = set()  # groups with effects in `_rows`

    def run(self, order: Sequence[Mutation]) -> None:
        """Decide all mutations; every one has a result afterwards."""
        for mutation in order:
            group = self.group_of[mutation.index]
            if group in self.excluded:
                result = self.culprits.get(mutation.index) or self._not_applied(
                    mutation, self.excluded[group]
                )
            else:
                result = self._decide(mutation)
                self._note(group, result)
            self.results[mutation.index] = result
            if result.refusal is not None and mutation.op is Op.CREATE:
                self._failed_creates.setdefault(mutation.key, mutation.index)

    def _note(self, group: int, result: Result) -> None:
        """Keep the culprits of a falling group; the rest of it is still decided, for reasons."""
        if result.refusal is not None:
            self.culprits[result.mutation.index] = result
            self.fallen.setdefault(group, result.mutation.index)
        else:
            self._touched.add(group)
        if group in self.fallen and group in self._touched:
            self.has_lost_ground = True

    def writes(self) -> list[Write]:
        """Return the rows that end otherwise than they began."""
        found = []
        for key, after in self._rows.items():
            before = self.batch.rows.get(key)
            if after is not before:
                version = after.version if after else self._ended[key]
                found.append(Write(key=key, before=before, after=after, version=version))
        return found

    def _decide(self, mutation: Mutation) -> Result:
        refused = self.batch.refused.get(mutation.index)
        if refused is not None:
            return refuse(mutation, refused, self._visible_row(mutation.key))
        if mutation.key in self._failed_creates:
            return self._blocked(mutation, mutation.key)
        match mutation.op:
            case Op.CREATE:
                return self._create(mutation)
            case Op.UPDATE:
                return self._update(mutation)
            case Op.DELETE:
                return self._delete(mutation)
            case _:
                assert_never(mutation.op)

    def _row(self, key: RowKey) -> RowState | None:
        return self._rows[key] if key in self._rows else self.batch.rows.get(key)

    def _visible_row(self, key: RowKey) -> RowState | None:
        """Return the row if it exists for the actor; rows of this push always do."""
        row = self._row(key)
        if row is None or key in self._rows or self.batch.actor.can_see(row.scopes):
            return row
        return None

    def _create(self, mutation: Mutation) -> Result:
        key, row = mutation.key, self._row(mutation.key)
        if row is not None:
            return self._create_again(mutation, row)
        if self._is_deleted(key):
            return refuse(mutation, GONE)
        if key in self.batch.tombstones:
            return refuse(mutation, ID_TAKEN)
        refusal = self._missing_reference(mutation, mutation.data) or self._judge(
            mutation, None, mutation.data
        )
        if refusal is not None:
            return refuse(mutation, refusal)
        self._rows[key] = RowState(version=1, field_versions={}, data=mutation.data)
        return Result(mutation=mutation, outcome=Outcome.CREATED, version=1)

    def _create_again(self, mutation: Mutation, row: RowState) -> Result:
        """A create whose id is taken: a replay when equal, else a conflict."""
        if self._visible_row(mutation.key) is None:
            return refuse(mutation, ID_TAKEN)
        server_fields = self.batch.rules[mutation.collection].server_fields
        differing = {
            name
            for name, value in mutation.data.items()
            if name not in server_fields and row.data.get(name) != value
        }
        if not differing:
            return Result(mutation=mutation, outcome=Outcome.UNCHANGED, version=row.version)
        return conflict(mutation, row, "id_taken", frozenset(differing))

    def _update(self, mutation: Mutation) -> Result:
        row = self._visible_row(mutation.key)
        if row is None:
            return refuse(mutation, GONE if self._is_deleted(mutation.key) else NOT_FOUND)
        merges = self._merges(mutation)
        data = whole_lists(mutation.data, row, merges)
        if isinstance(data, tuple):  # perhaps since others have removed what is edited here
            overlap = self._overtaken(mutation, row) & edited_children(mutation.data, merges)
            moved_on = conflict(mutation, row, "version_mismatch", overlap) if overlap else None
            return moved_on or refuse(mutation, invalid(data))
        edit = {k: v for k, v in data.items() if row.data.get(k) != v}
        if not edit and not self._lacks_base(mutation):
            return Result(mutation=mutation, outcome=Outcome.UNCHANGED, version=row.version)
        return self._check_base(mutation, row) or self._edit(mutation, row, edit)

    def _edit(self, mutation: Mutation, row: RowState, edit: Wire) -> Result:
        overtaken = self._overtaken(mutation, row)
        overlap = overtaken and overtaken & changed_fields(row, edit, self._merges(mutation))
        policy = self.batch.rules[mutation.collection].conflicts
        merged = combine(policy, row, edit, overtaken, overlap)
        if merged is None:
            return conflict(mutation, row, "version_mismatch", overlap)
        refusal = self._missing_reference(mutation, edit) or self._judge(
            mutation, row.data, merged
        )
        if refusal is not None:
            return refuse(mutation, refusal, row)
        is_free = bool(overtaken) and callable(policy)  # it may have changed anything
        changed = changed_fields(row, merged if is_free else edit, self._merges(mutation))
        return self._put(mutation, row, merged, changed, is_merge=bool(overtaken))

    def _put(
        self,
        mutation: Mutation,
        row: RowState,
        data: Wire,
        changed: frozenset[str],
        *,
        is_merge: bool,
    ) -> Result:
        if not changed:
            return Result(mutation=mutation, outcome=Outcome.UNCHANGED, version=row.version)
        version = row.version + 1
        key = mutation.key
        self._rows[key] = replace(
            row, version=version, field_versions=stamp(row, changed), data=data
        )
        self._own_edits[key] = changed | self._own_edits.get(key, frozenset())
        outcome = Outcome.MERGED if is_merge else Outcome.UPDATED
        current = data if is_merge else None
        return Result(mutation=mutation, outcome=outcome, version=version, current=current)

    def _check_base(self, mutation: Mutation, row: RowState) -> Result | None:
        if self._lacks_base(mutation):
            return refuse(mutation, BASE_REQUIRED)
        if mutation.base_version is not None and mutation.base_version > row.version:
            return conflict(mutation, row, "base_version_ahead", frozenset())
        return None

    def _lacks_base(self, mutation: Mutation) -> bool:
        """An edit must say what it was made on, unless this push wrote the row before it."""
        is_known = mutation.key in self._rows or self.batch.actor.is_system
        return mutation.base_version is None and not is_known

    def _overtaken(self, mutation: Mutation, row: RowState) -> frozenset[str]:
        """Return what others changed since the edit's base."""
        if mutation.key in self._rows and mutation.key not in self.batch.rows:
            return frozenset()  # all of it was written by this push
        found = overtaken_fields(row, mutation.base_version, self._merges(mutation))
        return found and found - self._own_edits.get(mutation.key, frozenset())

    def _merges(self, mutation: Mutation) -> Merges:
        return self.batch.rules[mutation.collection].merges

    def _delete(self, mutation: Mutation) -> Result:
        key, row = mutation.key, self._visible_row(mutation.key)
        if row is None and self._is_deleted(key):
            ended = self._ended.get(key)
            version = self.batch.tombstones[key].version if ended is None else ended
            return Result(mutation=mutation, outcome=Outcome.UNCHANGED, version=version)
        if row is None:
            return refuse(mutation, NOT_FOUND)
        return self._check_base(mutation, row) or self._remove(mutation, row)

    def _remove(self, mutation: Mutation, row: RowState) -> Result:
        overtaken = self._overtaken(mutation, row)
        if overtaken:
            return conflict(mutation, row, "edited_since", overtaken)
        refusal = self._judge(mutation, row.data, None)
        if refusal is not None:
            return refuse(mutation, refusal, row)
        key, version = mutation.key, row.version + 1
        self._rows.pop(key, None)  # behind what was deleted before it, wherever it was edited
        self._rows[key], self._ended[key] = None, version
        return Result(mutation=mutation, outcome=Outcome.DELETED, version=version)

    def _is_deleted(self, key: RowKey) -> bool:
        if key in self._rows:
            return self._rows[key] is None
        tombstone = self.batch.tombstones.get(key)
        return tombstone is not None and self.batch.actor.can_see(tombstone.scopes)

    def _judge(
        self, mutation: Mutation, before: Wire | None, after: Wire | None
    ) -> Refusal | None:
        if self.batch.actor.is_system:
            return None
        return self.batch.rules[mutation.collection].judge(self.batch.actor, before, after)

    def _missing_reference(self, mutation: Mutation, fields: Wire) -> Refusal | None:
        rules = self.batch.rules[mutation.collection]
        errors = []
        for field, collection in rules.references.items():
            target = fields.get(field)
            if target is None or self._exists(RowKey(collection, target)):
                continue
            key = RowKey(collection, target)
            if field == rules.parent or key in self._failed_creates:
                return dependency_failed(field, key, self._failed_creates.get(key))
            errors.append(does_not_exist(field))
        return invalid(errors) if errors else None

    def _exists(self, key: RowKey) -> bool:
        if key in self._rows:
            return self._rows[key] is not None
        return key in self.batch.visible

    def _blocked(self, mutation: Mutation, key: RowKey) -> Result:
        return refuse(mutation, create_refused(key, self._failed_creates[key]))

    def _not_applied(self, mutation: Mutation, culprit: int) -> Result:
        return refuse(mutation, group_refused(self.culprits[culprit].mutation.key, culprit))
