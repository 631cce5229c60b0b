"""Which tables hold what is a tenant's, each after those that it refers to.

From the models: whatever has a column `tenant_id`; the tenant itself; and the people who are its
members, who may be those of others as well. The order comes from the database's foreign keys.
"""

from __future__ import annotations

import dataclasses
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any, Final

from django.apps import apps
from django.db import connection
from django.db.models import AutoField

from backend.accounts.models import ApiKey, Device, Membership, Tenant, User
from sync.catalog import has_tenant, list_references
from sync.tenancy import TENANT_COLUMN

if TYPE_CHECKING:
    from django.db.models import Model

PEOPLE: Final = User._meta.db_table
MEMBERSHIPS: Final = Membership._meta.db_table
# Whoever is in one of these is told by their membership: it comes before, and is deleted after.
_OF_MEMBERS: Final = (Device._meta.db_table, ApiKey._meta.db_table)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table; `condition` says which of its rows are a tenant's, with the parameter `tenant`.

    `columns` are those that the database does not number by itself; `parent` is the one by which
    a row names another of the same table.
    """

    name: str
    model: type[Model]
    columns: tuple[str, ...]
    condition: str
    parent: str | None = None


def list_tables() -> list[Table]:
    """Return all tables that hold rows of tenants, each after those that it refers to."""
    models = {model._meta.db_table: model for model in _models()}
    before: dict[str, set[str]] = {name: set() for name in models}
    parents: dict[str, str] = {}
    for _, name, referred, columns in list_references():
        if name == referred and name in models:
            (parents[name],) = set(columns) - {TENANT_COLUMN}
        elif name in models and referred in models:
            before[name].add(referred)
    for name in _OF_MEMBERS:
        before[name].add(MEMBERSHIPS)
    return [
        Table(
            name=name,
            model=models[name],
            columns=_columns(models[name]),
            condition=_condition(name, models[name]),
            parent=parents.get(name),
        )
        for name in TopologicalSorter(before).static_order()
    ]


def count_rows(tables: list[Table], tenant_id: Any) -> dict[str, int]:
    """Return how many rows of a tenant each table has."""
    counts = {}
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(
                f'SELECT count(*) FROM "{table.name}" WHERE {table.condition}',  # noqa: S608  # of models
                {"tenant": tenant_id},
            )
            (counts[table.name],) = cursor.fetchone()
    return counts


def _models() -> list[type[Model]]:
    held = [m for m in apps.get_models() if not m._meta.proxy and has_tenant(m)]
    return [Tenant, User, *held]


def _columns(model: type[Model]) -> tuple[str, ...]:
    return tuple(
        field.column
        for field in model._meta.concrete_fields
        if field.column and not isinstance(field, AutoField)
    )


def _condition(name: str, model: type[Model]) -> str:
    if model is Tenant:
        return "id = %(tenant)s"
    if name == PEOPLE:
        return (
            f"id IN (SELECT user_id FROM {MEMBERSHIPS} WHERE tenant_id = %(tenant)s UNION "  # noqa: S608  # of models
            f"SELECT created_by_id FROM {ApiKey._meta.db_table} WHERE tenant_id = %(tenant)s)"
        )
    return f"{TENANT_COLUMN} = %(tenant)s"
