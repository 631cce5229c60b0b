"""Visible: the rows that exist for an actor, where they are read by other means than a pull.

    visible_rows(actor, collection)   a queryset, to be filtered and put in order
    find_row(actor, collection, id)   one row, as devices get it

Which scopes a row is in is known to the log: what a list shows is what a device would hold.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from django.db.models import (
    BooleanField,
    CharField,
    ExpressionWrapper,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    UUIDField,
)
from django.db.models.functions import Cast

from sync.models import ChangeRow, Entry
from sync.registry import Collection
from sync.tenancy import LISTED_TENANT
from sync.types import Actor, ChangeOp

if TYPE_CHECKING:
    import datetime


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FoundRow:
    """A row as it is: its version, its JSON as devices get it, and when it last changed."""

    version: int
    payload: str
    changed_at: datetime.datetime


def visible_rows(actor: Actor, collection: Collection) -> QuerySet[Any]:
    """Return the rows of `collection` that exist for `actor`."""
    rows = tenant_rows(actor, collection)
    if not actor.may_read(collection.name):
        return rows.none()
    if actor.is_system:
        return rows
    scopes = sorted(actor.scopes)
    if not actor.sees_most:
        entries = Entry.objects.filter(
            tenant_id=actor.tenant_id,
            scope__in=scopes,
            collection=collection.name,
            op=ChangeOp.UPSERT,
        )
        # Distinct, so that PostgreSQL makes the ids before it joins: under row-level security it
        # looks nothing up by an expression that could fail on another tenant's rows.
        return rows.filter(pk__in=entries.values_list(Cast("row_id", UUIDField())).distinct())
    # A truth and no set, limited: PostgreSQL takes half of the rows for visible, and cannot make a
    # join of it. Otherwise it would read all of the tenant's for one page.
    is_shown = ExpressionWrapper(Q(scopes__overlap=scopes), BooleanField())
    shown = ChangeRow.objects.filter(
        tenant_id=actor.tenant_id,
        collection=collection.name,
        row_id=Cast(OuterRef("pk"), CharField()),
        op=ChangeOp.UPSERT,
    ).values_list(is_shown)[:1]
    ordered: QuerySet[Any] = rows.alias(listed_tenant=LISTED_TENANT)
    return ordered.filter(
        Subquery(shown, output_field=BooleanField()), listed_tenant=actor.tenant_id
    )


def tenant_rows(actor: Actor, collection: Collection) -> QuerySet[Any]:
    """Return all rows of the actor's tenant, to look at those that were found visible."""
    return collection.model._default_manager.filter(tenant_id=actor.tenant_id)


def find_row(actor: Actor, collection: Collection, row_id: str) -> FoundRow | None:
    """Return the row, or None if there is none for `actor`; one query."""
    if not actor.may_read(collection.name):
        return None
    found = ChangeRow.objects.filter(
        tenant_id=actor.tenant_id, collection=collection.name, row_id=row_id, op=ChangeOp.UPSERT
    ).first()
    if found is None or not actor.can_see(frozenset(found.scopes)):
        return None
    return FoundRow(
        version=found.version, payload=found.payload or "{}", changed_at=found.changed_at
    )
