"""In which order mutations are decided, and which of them stand or fall together. Pure.

    first   creates and updates, parents before what refers to them
    then    deletes, the other way round, so that a parent goes after its children

Mutations of one row keep the order given. That nothing is deleted before everything else was
decided makes existence grow only: a group that falls can take others with it, never save one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sync.types import Mutation, Op, Policy, RowKey, RowState

Ranks = Mapping[str, int]  # collection -> rank; what is referred to ranks lower
SelfReferences = Mapping[str, Sequence[str]]  # collection -> fields that name rows of its own


def dependency_order(
    mutations: Sequence[Mutation],
    ranks: Ranks,
    self_references: SelfReferences,
    known: Mapping[RowKey, RowState],
) -> list[Mutation]:
    """Return the mutations in the order in which they are to be decided.

    `known` are the rows as they are: a delete does not say what its row hangs below.
    """
    rows = _by_row(mutations)
    depths = _depths(rows, self_references, known)
    grown: list[tuple[tuple[int, int, int], Mutation]] = []
    ended: list[tuple[tuple[int, int, int], Mutation]] = []
    for key, of_row in rows.items():
        rank, depth, first = ranks.get(key.collection, 0), depths.get(key, 0), of_row[0].index
        is_ended = False
        for mutation in of_row:
            is_ended = is_ended or mutation.op is Op.DELETE
            if is_ended:
                ended.append(((-rank, -depth, first), mutation))
            else:
                grown.append(((rank, depth, first), mutation))
    return [mutation for half in (grown, ended) for _, mutation in sorted(half, key=_place)]


def groups(mutations: Sequence[Mutation], policy: Policy) -> dict[int, int]:
    """Return the group of each mutation, by index; groups that touch the same row are one.

    A group goes by the index of one of its mutations.
    """
    if policy is Policy.ALL_OR_NOTHING:
        return dict.fromkeys((mutation.index for mutation in mutations), 0)
    root: dict[int, int] = {}

    def find(index: int) -> int:
        while root[index] != index:
            root[index] = root[root[index]]
            index = root[index]
        return index

    first_of: dict[RowKey | str, int] = {}
    for mutation in mutations:
        index = root[mutation.index] = mutation.index
        names = (mutation.key,) if mutation.group is None else (mutation.key, mutation.group)
        for name in names:
            root[find(index)] = find(first_of.setdefault(name, index))
    return {index: find(index) for index in root}


def _place(item: tuple[tuple[int, int, int], Mutation]) -> tuple[int, int, int, int]:
    return *item[0], item[1].index


def _by_row(mutations: Sequence[Mutation]) -> dict[RowKey, list[Mutation]]:
    rows: dict[RowKey, list[Mutation]] = {}
    for mutation in mutations:
        rows.setdefault(mutation.key, []).append(mutation)
    return rows


def _depths(
    rows: Mapping[RowKey, Sequence[Mutation]],
    self_references: SelfReferences,
    known: Mapping[RowKey, RowState],
) -> dict[RowKey, int]:
    """Return how many rows of its own collection each row of the batch hangs below."""
    above: dict[RowKey, RowKey] = {}
    for key, of_row in rows.items():
        for field in self_references.get(key.collection, ()):
            is_said = field in of_row[0].data or key not in known
            target = (of_row[0] if is_said else known[key]).data.get(field)
            if isinstance(target, str):
                above[key] = RowKey(key.collection, target)
    depths: dict[RowKey, int] = {}
    for key in above:
        trail = [key]
        while trail[-1] in above and trail[-1] not in depths and len(trail) <= len(above):
            trail.append(above[trail[-1]])
        base = depths.get(trail[-1], 0)
        for step, passed in enumerate(reversed(trail[:-1]), start=1):
            depths.setdefault(passed, base + step)
    return depths
