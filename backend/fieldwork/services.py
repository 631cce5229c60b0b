"""Writes of the domain that take more than one `save()`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from django.db import transaction

from backend.fieldwork.models import Territory
from sync import local_edits
from sync.errors import EditRefused
from sync.types import Mutation, Outcome, Result, Wire

if TYPE_CHECKING:
    from uuid import UUID

# What makes a row refused at the first try cannot recur: each round drops those that were.
ROUNDS_MAX: Final = 8
EXISTS_CODES: Final = frozenset({"id_taken", "row_deleted"})


class TerritoryCircle(Exception):
    """A territory cannot be moved below itself."""

    def __init__(self) -> None:
        super().__init__("A territory cannot lie below itself.")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """What `create_missing` came to: rows made, rows that were there (or had been), refusals."""

    created: int
    kept: int
    refused: tuple[Result, ...]


def create_missing(tenant_id: UUID, creates: Iterable[Mutation]) -> Filled:
    """Create the rows that do not exist yet; leave alone those that do, or that were deleted.

    A row that is not valid is reported and left out; the others are written in one transaction.

    Raises:
        EditRefused: rows kept being refused, which only edits at the same time can bring about.
    """
    waiting = list(creates)
    kept = 0
    refused: list[Result] = []
    for _ in range(ROUNDS_MAX):
        try:
            results = local_edits.apply(tenant_id, waiting) if waiting else []
        except EditRefused as error:
            last = error
            culprits = [r for r in error.results if r.outcome is not Outcome.NOT_APPLIED]
            exist = [r for r in culprits if r.refusal and r.refusal.code in EXISTS_CODES]
            kept += len(exist)
            refused += [r for r in culprits if r not in exist]
            dropped = {r.mutation.key for r in culprits}
            waiting = [mutation for mutation in waiting if mutation.key not in dropped]
        else:
            created = sum(r.outcome is Outcome.CREATED for r in results)
            return Filled(
                created=created, kept=kept + len(results) - created, refused=tuple(refused)
            )
    raise last


def move_territory(territory: Territory, parent_id: UUID | None) -> None:
    """Hang `territory` below another one, or make it a root; its whole subtree gets new paths.

    Raises:
        TerritoryCircle: the new parent is the territory itself, or below it.
        EditRefused: the tree would become too deep, or there is no such parent.
    """
    own_id = str(territory.pk)
    with transaction.atomic():
        # All of the tenant's: two moves at once could otherwise make a circle of each other.
        rows = Territory.objects.filter(tenant_id=territory.tenant_id).order_by("id")
        locked = rows.select_for_update(no_key=True).values_list("id", "path")
        paths = {str(row_id): path for row_id, path in locked}
        old = paths[own_id]
        above = paths.get(str(parent_id), "/")
        if above.startswith(old):
            raise TerritoryCircle
        edits: dict[str, Wire] = {
            row_id: {"path": f"{above}{own_id}/{path.removeprefix(old)}"}
            for row_id, path in paths.items()
            if path.startswith(old)
        }
        edits[own_id]["parent"] = str(parent_id) if parent_id else None
        local_edits.apply(
            territory.tenant_id,
            [local_edits.update("territories", row_id, edit) for row_id, edit in edits.items()],
        )
