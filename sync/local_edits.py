"""The door for office writes: the admin, commands, imports and the shell.

    save(), delete(), bulk_create(), update(), apply()  ->  the same batch and log as a push

No key and no roles, but the same validation, versions, conflict rule and feed: a phone sees the
edit at its next pull. Edits in one `transaction.atomic` hold the tenant's stream from the first of
them to COMMIT, so put bulk work into one `apply` rather than many `save()`s.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from sync import batch, transactions
from sync.clock import utc_now
from sync.errors import EditRefused
from sync.ids import uuid7
from sync.registry import collection_of
from sync.types import Actor, Mutation, Op, Policy, Result, Wire

if TYPE_CHECKING:
    from uuid import UUID

    from django.db import models


def create(collection: str, data: Wire, row_id: str | None = None) -> Mutation:
    """Return the mutation that creates a row; `data` is in wire form, nested children and all."""
    return Mutation(
        index=0, op=Op.CREATE, collection=collection, id=row_id or str(uuid7()), data=data
    )


def update(collection: str, row_id: str, data: Wire) -> Mutation:
    """Return the mutation that sets the fields in `data`, whatever the row's version is."""
    return Mutation(index=0, op=Op.UPDATE, collection=collection, id=row_id, data=data)


def delete(collection: str, row_id: str) -> Mutation:
    """Return the mutation that deletes a row."""
    return Mutation(index=0, op=Op.DELETE, collection=collection, id=row_id)


def apply(tenant_id: UUID, mutations: Iterable[Mutation]) -> list[Result]:
    """Carry `mutations` out, all or nothing, in one transaction; return their results.

    They may be in any order, and more than a push could hold.

    Raises:
        EditRefused: one or more are invalid or in conflict; nothing was written.
        Unavailable: the database gave up.
    """
    numbered = [_numbered(index, mutation) for index, mutation in enumerate(mutations)]
    actor = Actor(tenant_id=tenant_id, is_system=True)
    return transactions.run(lambda _: _carry_out(actor, numbered))


def save(
    instances: Sequence[models.Model], *, is_new: bool, changed: Sequence[Sequence[str]] = ()
) -> None:
    """Write model instances, all of one model, and bring their versions up to date.

    `changed` names, for each instance that exists already, the attributes to write.

    Raises:
        EditRefused: as `apply`.
    """
    if not instances:
        return
    collection = collection_of(type(instances[0]))
    by_tenant: dict[UUID, list[tuple[Mutation, Any]]] = {}
    for position, instance in enumerate(instances):
        names = None if is_new else set(changed[position])
        data = {
            spec.name: spec.render(getattr(instance, spec.attname))
            for spec in collection.fields
            if names is None or spec.attname in names
        }
        row: Any = instance
        op = Op.CREATE if is_new else Op.UPDATE
        base = None if is_new else row.version
        mutation = Mutation(
            index=0,
            op=op,
            collection=collection.name,
            id=str(row.pk),
            base_version=base,
            data=data,
        )
        by_tenant.setdefault(row.tenant_id, []).append((mutation, row))
    for tenant_id, pairs in by_tenant.items():
        results = apply(tenant_id, [mutation for mutation, _ in pairs])
        for result, (_, row) in zip(results, pairs, strict=True):
            row.version = result.version


def remove(model: type[models.Model], keys: Iterable[tuple[UUID, UUID]]) -> int:
    """Delete rows of `model` by (tenant, id); return their number."""
    name = collection_of(model).name
    by_tenant: dict[UUID, list[Mutation]] = {}
    for tenant_id, row_id in keys:
        by_tenant.setdefault(tenant_id, []).append(delete(name, str(row_id)))
    return sum(len(apply(tenant_id, found)) for tenant_id, found in by_tenant.items())


def _carry_out(actor: Actor, mutations: Sequence[Mutation]) -> list[Result]:
    now = utc_now()
    carried = batch.carry_out(actor, Policy.ALL_OR_NOTHING, mutations, now)
    refused = [result for result in carried.results if result.refusal is not None]
    if refused:
        raise EditRefused(refused)
    batch.log(actor, carried, now)
    return carried.results


def _numbered(index: int, mutation: Mutation) -> Mutation:
    return replace(mutation, index=index)
