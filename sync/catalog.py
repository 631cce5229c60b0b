"""What catalog and models say of tables: who refers to whom, and whose rows are tenants'."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from django.db import connection

from sync.tenancy import TENANT_COLUMN

if TYPE_CHECKING:
    from django.db.models import Model

_REFERENCES: Final = """
SELECT r.conname, r.conrelid::regclass::text, r.confrelid::regclass::text,
    array_agg(a.attname::text)
FROM pg_constraint r JOIN pg_attribute a ON a.attrelid = r.conrelid AND a.attnum = ANY(r.conkey)
WHERE r.contype = 'f' AND r.connamespace = 'public'::regnamespace
GROUP BY r.oid, r.conname, r.conrelid, r.confrelid ORDER BY r.conname
"""


class Reference(NamedTuple):
    """A foreign key: `columns` of `table` name a row of `referred`."""

    name: str
    table: str
    referred: str
    columns: list[str]


def list_references() -> list[Reference]:
    """Return all foreign keys of the database, by name."""
    with connection.cursor() as cursor:
        cursor.execute(_REFERENCES)
        return [Reference(*found) for found in cursor.fetchall()]


def has_tenant(model: type[Model]) -> bool:
    """Whether each row of a model's table is some tenant's."""
    return any(field.column == TENANT_COLUMN for field in model._meta.concrete_fields)
