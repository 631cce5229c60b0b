"""Merge: how edits of one row add up, and which of them travel together. Pure.

    three trees     server (last pulled)  +  acked, sent and pending edits  =  local view
    before a send   create+update = create · create+delete = nothing
                    update+update = update · update+delete = delete
    into a batch    whole groups, parents before children

A pull moves the server tree only; pending edits stay on top of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from fieldsync.children import keep_removals, without_removals
from fieldsync.wire import Op

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

FIRST_VERSION = 1  # what the server makes of a create
NO_VERSION = 0  # the base of an edit that was made on nothing the server has


class Edit(msgspec.Struct, frozen=True, kw_only=True):
    """What a device wants done to one row.

    A create has a `base_version` only when it is sent again after a restore of the server:
    the version it once had there.
    """

    op: Op
    data: Mapping[str, Any]
    base_version: int | None = None
    groups: frozenset[str] = frozenset()


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A pending edit that could go into the next batch. `seq` is its place in the outbox."""

    seq: int
    row_id: str
    edit: Edit
    bytes: int = 0  # that it takes of a body, about


def local_view(server: Mapping[str, Any] | None, edits: Iterable[Edit]) -> dict[str, Any] | None:
    """The row as the app sees it: `edits`, oldest first, on top of the server tree."""
    view = None if server is None else dict(server)
    for edit in edits:
        match edit.op:
            case Op.CREATE:
                view = {**(view or {}), **without_removals(edit.data)}
            case Op.UPDATE if view is not None:
                view = {**view, **without_removals(edit.data)}
            case Op.UPDATE:
                pass  # its row has left; the answer, or the issue, will say so
            case Op.DELETE:
                view = None
    return view


def coalesce(earlier: Edit, later: Edit) -> Edit | None:
    """The one edit that does what both did, on the base of the first; None when nothing is left.

    `earlier` must not be on its way to the server.
    """
    groups = earlier.groups | later.groups
    if earlier.op is Op.DELETE:
        return earlier  # nothing can be done to it any more
    if later.op is not Op.DELETE:
        data = {**earlier.data, **keep_removals(earlier.data, later.data)}
        is_create = earlier.op is Op.CREATE  # which has whole children only
        return replace(earlier, data=without_removals(data) if is_create else data, groups=groups)
    if earlier.op is Op.CREATE and earlier.base_version is None:
        return None  # the server never heard of it
    return replace(earlier, op=Op.DELETE, data={}, groups=groups)


def on_older_base(edit: Edit, other: Edit) -> Edit:
    """`edit`, an update, on the older of both bases: it will be joined with `other`.

    Better one conflict too many than an overwritten edit. A create was made on nothing.
    """
    if edit.op is Op.UPDATE and other.op is Op.CREATE and other.base_version is None:
        return replace(edit, base_version=NO_VERSION)
    if edit.op is not Op.UPDATE or other.base_version is None:
        return edit
    known = other.base_version if edit.base_version is None else edit.base_version
    return replace(edit, base_version=min(known, other.base_version))


def changed_fields(view: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `fields` that differ from `view`."""
    missing = object()
    return {name: value for name, value in fields.items() if view.get(name, missing) != value}


def can_overwrite_unseen(
    *, expected: Mapping[str, Any], current: Mapping[str, Any], pending: Edit
) -> bool:
    """Whether `pending` touches what somebody else changed while an edit was on its way.

    `expected` is the row as the pending edit knew it, `current` what the merge made of it. If
    so, the pending edit must keep its old base, or it would undo the other's work unasked.
    """
    foreign = changed_fields(expected, current)
    return (
        bool(foreign) if pending.op is Op.DELETE else not foreign.keys().isdisjoint(pending.data)
    )


def choose_batch(
    candidates: Sequence[Candidate],
    *,
    rows_max: int,
    bytes_max: int | None = None,
    held_groups: Collection[str] = (),
) -> list[tuple[Candidate, str | None]]:
    """The next batch, each edit with the name of its group: whole groups, parents first.

    A row or a group beyond the limits still goes whole, alone. Groups that share a row are one.
    `held_groups` are still being filled: they wait, and so does what needs them.
    """
    units = _units(candidates)
    chosen: list[tuple[Candidate, str | None]] = []
    waiting: set[int] = set()
    size = 0
    needs = _needs(units)
    for at in _parents_first(needs):
        unit = units[at]
        groups = frozenset().union(*(member.edit.groups for member in unit))
        if not groups.isdisjoint(held_groups) or not waiting.isdisjoint(needs[at]):
            waiting.add(at)
            continue
        size += sum(member.bytes for member in unit)
        is_large = bytes_max is not None and size > bytes_max
        if chosen and (is_large or len(chosen) + len(unit) > rows_max):
            break
        chosen += [(member, min(groups, default=None)) for member in unit]
    return chosen


def find_cut(groups: Sequence[str | None]) -> int | None:
    """Where to halve a batch without parting a group; None when it is a single unit."""
    cuts = [
        at for at in range(1, len(groups)) if groups[at] is None or groups[at] != groups[at - 1]
    ]
    return min(cuts, key=lambda at: abs(2 * at - len(groups)), default=None)


def _units(candidates: Sequence[Candidate]) -> list[list[Candidate]]:
    """Candidates that must travel together, in the order of each unit's first one."""
    units: dict[int, list[Candidate]] = {}
    names: dict[int, set[str]] = {}
    unit_of_group: dict[str, int] = {}
    for candidate in candidates:
        joined = {unit_of_group[name] for name in candidate.edit.groups if name in unit_of_group}
        target = min(joined, default=candidate.seq)
        unit = units.setdefault(target, [])
        moved = names.setdefault(target, set())
        for other in joined - {target}:
            unit += units.pop(other)
            moved |= names.pop(other)
        unit.append(candidate)
        moved |= candidate.edit.groups
        unit_of_group.update(dict.fromkeys(moved, target))
    return [sorted(unit, key=lambda member: member.seq) for _, unit in sorted(units.items())]


def _needs(units: Sequence[Sequence[Candidate]]) -> list[set[int]]:
    """For each unit the units that create a row which it mentions."""
    creator = {
        member.row_id: at
        for at, unit in enumerate(units)
        for member in unit
        if member.edit.op is Op.CREATE
    }
    return [
        {
            creator[text]
            for member in unit
            for text in _strings(member.edit.data)
            if creator.get(text, at) != at
        }
        for at, unit in enumerate(units)
    ]


def _strings(value: object) -> Iterator[str]:
    """Every string inside a JSON value: a reference is a row id, wherever it stands."""
    stack: list[object] = [value]
    while stack:
        match stack.pop():
            case str() as text:
                yield text
            case dict() as mapping:
                stack.extend(mapping.values())
            case list() as items:
                stack.extend(items)
            case _:
                pass  # no reference


def _parents_first(needs: Sequence[Collection[int]]) -> list[int]:
    """Unit numbers, each after those it needs, else in their order. Cycles keep their order."""
    order: list[int] = []
    seen: set[int] = set()
    for start in range(len(needs)):
        stack = [(start, False)]
        while stack:
            at, is_done = stack.pop()
            if is_done:
                order.append(at)
            elif at not in seen:
                seen.add(at)
                stack.append((at, True))
                stack.extend((need, False) for need in sorted(needs[at], reverse=True))
    return order
