"""Visible: the rows that exist for an actor, where they are read by other means than a pull.

    visible_rows(actor, collection)   a queryset, to be filtered and put in order
    find_row(actor, collection, id)   one row, as devices get it

Which scopes a row is in is known to the log: what a list shows is what a device would hold.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from django.db.models import CharField, Exists, OuterRef, QuerySet, UUIDField
from django.db.models.functions import Cast

from sync.models import ChangeRow, Entry
from sync.registry import Collection
from sync.types import Actor, ChangeOp

if TYPE_CHECKING:
    import datetime

FEW_SCOPES: Final = 16  # fewer rows are in so few scopes than in the tenant: begin with them


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FoundRow:
    """A row as it is: its version, its JSON as devices get it, and when it last changed."""

    version: int
    payload: str
    changed_at: datetime.datetime


def visible_rows(actor: Actor, collection: Collection) -> QuerySet[Any]:
    """Return the rows of `collection` that exist for `actor`."""
    rows = collection.model._default_manager.filter(tenant_id=actor.tenant_id)
    if actor.is_system:
        return rows
    scopes = sorted(actor.scopes)
    if len(scopes) <= FEW_SCOPES:
        entries = Entry.objects.filter(
            tenant_id=actor.tenant_id,
            scope__in=scopes,
            collection=collection.name,
            op=ChangeOp.UPSERT,
        )
        return rows.filter(pk__in=entries.values_list(Cast("row_id", UUIDField())))
    # Whoever holds many sees most of what there is: ask row by row, as the page is filled.
    changes = ChangeRow.objects.filter(
        tenant_id=actor.tenant_id,
        collection=collection.name,
        row_id=Cast(OuterRef("pk"), CharField()),
        op=ChangeOp.UPSERT,
        scopes__overlap=scopes,
    )
    return rows.filter(Exists(changes))


def find_row(actor: Actor, collection: Collection, row_id: str) -> FoundRow | None:
    """Return the row, or None if there is none for `actor`; one query."""
    found = ChangeRow.objects.filter(
        tenant_id=actor.tenant_id, collection=collection.name, row_id=row_id, op=ChangeOp.UPSERT
    ).first()
    if found is None or not actor.can_see(frozenset(found.scopes)):
        return None
    return FoundRow(
        version=found.version, payload=found.payload or "{}", changed_at=found.changed_at
    )
