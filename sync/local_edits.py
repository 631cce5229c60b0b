"""The door for office writes: the admin, commands, imports and the shell.

    save(), delete(), bulk_create(), update(), apply()  ->  the same batch and log as a push

No key and no roles, but the same validation, versions, conflict rule and feed: a phone sees the
edit at its next pull. Edits in one `transaction.atomic` hold the tenant's stream from the first of
them to COMMIT, so put bulk work into one `apply` rather than many `save()`s.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from sync import batch, transactions
from sync.clock import utc_now
from sync.errors import EditRefused
from sync.ids import uuid7
from sync.row_security import for_actor, for_tenant
from sync.types import Actor, Mutation, Op, Policy, Result, RowKey, RowState, Wire

if TYPE_CHECKING:
    import datetime
    from uuid import UUID


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    """What edits came to: a result for every mutation, and the rows as they were written."""

    results: list[Result]
    rows: dict[RowKey, RowState]
    at: datetime.datetime


def create(collection: str, data: Wire, row_id: str | None = None) -> Mutation:
    """Return the mutation that creates a row; `data` is in wire form, nested children and all."""
    return Mutation(
        index=0, op=Op.CREATE, collection=collection, id=row_id or str(uuid7()), data=data
    )


def update(
    collection: str, row_id: str, data: Wire, *, base_version: int | None = None
) -> Mutation:
    """Return the mutation that sets the fields in `data`.

    Without `base_version`, whatever was edited since.
    """
    return Mutation(
        index=0,
        op=Op.UPDATE,
        collection=collection,
        id=row_id,
        base_version=base_version,
        data=data,
    )


def delete(collection: str, row_id: str, *, base_version: int | None = None) -> Mutation:
    """Return the mutation that deletes a row; without `base_version`, whatever it is by now."""
    return Mutation(
        index=0, op=Op.DELETE, collection=collection, id=row_id, base_version=base_version
    )


def apply(tenant_id: UUID, mutations: Iterable[Mutation]) -> list[Result]:
    """Carry `mutations` out, all or nothing, in one transaction; return their results.

    They may be in any order, and more than a push could hold.

    Raises:
        EditRefused: one or more are invalid or in conflict; nothing was written.
        Unavailable: the database gave up.
    """
    edits = {tenant_id: list(mutations)}
    return transactions.run(lambda _: carry_out(edits))[tenant_id].results


def carry_out(edits: Mapping[UUID, Sequence[Mutation]]) -> dict[UUID, Edited]:
    """Carry the mutations of each tenant out, within the caller's transaction.

    Rows of all tenants are locked before the first stream, and all in one order: transactions
    that have tenants in common cannot wait for each other in a circle.

    Raises:
        EditRefused: as `apply`; the caller's transaction must not be committed.
    """
    now = utc_now()
    actors = {tenant_id: Actor(tenant_id=tenant_id, is_system=True) for tenant_id in sorted(edits)}
    carried = {
        tenant_id: _carry_out(actor, edits[tenant_id], now) for tenant_id, actor in actors.items()
    }
    for tenant_id, actor in actors.items():
        with for_tenant(tenant_id):
            batch.log(actor, carried[tenant_id], now)
    return {
        tenant_id: Edited(
            results=done.results,
            rows={write.key: write.after for write in done.writes if write.after is not None},
            at=now,
        )
        for tenant_id, done in carried.items()
    }


@for_actor
def _carry_out(
    actor: Actor, mutations: Sequence[Mutation], now: datetime.datetime
) -> batch.Carried:
    numbered = [replace(mutation, index=index) for index, mutation in enumerate(mutations)]
    carried = batch.carry_out(actor, Policy.ALL_OR_NOTHING, numbered, now)
    refused = [result for result in carried.results if result.refusal is not None]
    if refused:
        raise EditRefused(refused)
    return carried
