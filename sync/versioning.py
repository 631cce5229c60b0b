"""Which fields changed since a version, and whether two edits go together. Pure.

    row.version          counts a row's edits, densely
    row.field_versions   field -> version that last changed it; what is missing is of version 1

A child of a list that is merged by id counts as a field of its own, named `list.<id>`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sync.types import ConflictPolicy, FieldError, RowState, Wire

Resolver = Callable[[Wire, Wire, frozenset[str]], Wire | None]  # (current, edit, overlap) -> row
# (children as they are, edits by id) -> children as they will be, or what is wrong with the edits
MergeChildren = Callable[[list[Wire], list[Wire]], list[Wire] | tuple[FieldError, ...]]
Merges = Mapping[str, MergeChildren]  # by the name of the list


def whole_lists(data: Wire, row: RowState, merges: Merges) -> Wire | tuple[FieldError, ...]:
    """Return an edit with whole lists in place of edits of single children, or its errors."""
    if merges.keys().isdisjoint(data):
        return data
    whole = dict(data)
    for name in merges.keys() & data.keys():
        children = merges[name](row.data[name], data[name])
        if isinstance(children, tuple):
            return children
        whole[name] = children
    return whole


def edited_children(data: Wire, merges: Merges) -> frozenset[str]:
    """Return the names of the children that an edit by id is about."""
    lists = merges.keys() & data.keys()
    return frozenset(f"{name}.{edit['id']}" for name in lists for edit in data[name])


def changed_fields(row: RowState, data: Wire, merges: Merges) -> frozenset[str]:
    """Return the names of what in `data` differs from the row."""
    names = {name for name, value in data.items() if row.data.get(name) != value}
    if not merges:
        return frozenset(names)
    for name in names & merges.keys():
        names.remove(name)
        before = {child["id"]: child for child in row.data[name]}
        after = {child["id"]: child for child in data[name]}
        ids = before.keys() | after.keys()
        names |= {f"{name}.{key}" for key in ids if before.get(key) != after.get(key)}
    return frozenset(names)


def overtaken_fields(row: RowState, base: int | None, merges: Merges) -> frozenset[str]:
    """Return the names of what was changed after version `base`."""
    if base is None or base >= row.version:
        return frozenset()
    names = set(row.data)
    for name in merges:
        names.remove(name)
        names |= {f"{name}.{child['id']}" for child in row.data[name]}
    if merges:
        names |= row.field_versions.keys()  # children that were removed
    return frozenset(name for name in names if row.field_versions.get(name, 1) > base)


def combine(
    policy: ConflictPolicy | Resolver,
    row: RowState,
    edit: Wire,
    overtaken: frozenset[str],
    overlap: frozenset[str],
) -> Wire | None:
    """Return the row after an edit of an older version, or None for a conflict.

    `overtaken` was changed since that version, `overlap` by both.
    """
    if not overtaken:
        return {**row.data, **edit}
    match policy:
        case ConflictPolicy.REJECT:
            return None
        case ConflictPolicy.MERGE_FIELDS:
            return None if overlap else {**row.data, **edit}
        case _:
            return policy(dict(row.data), dict(edit), overlap)


def stamp(row: RowState, changed: frozenset[str]) -> dict[str, int]:
    """Return the field versions after an edit that changed these fields."""
    return {**row.field_versions, **dict.fromkeys(sorted(changed), row.version + 1)}
