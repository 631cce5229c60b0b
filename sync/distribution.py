"""A cluster: which tables are spread over its nodes by tenant, and which each node has whole.

    a table with a tenant    distributed by it: all that is a tenant's lies on one node
    any other                a reference table, a copy on each node

Made for Citus, an extension of PostgreSQL. A push is then one transaction on one node, because
every statement of it names the tenant; so is a pull. `find_faults` says what stands in the way.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from django.apps import apps
from django.db import connection

from sync.catalog import has_tenant, list_references
from sync.conf import sync_settings
from sync.tenancy import TENANT_COLUMN

FIRST: Final = "sync_stream"  # the others are kept where its rows are

_IS_CITUS: Final = "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')"
_DONE: Final = "SELECT logicalrelid::text FROM pg_dist_partition"
_UNIQUE: Final = """
SELECT i.indexrelid::regclass::text, i.indrelid::regclass::text, array_agg(a.attname::text)
FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid AND t.relnamespace = 'public'::regnamespace
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)
WHERE i.indisunique GROUP BY i.indexrelid, i.indrelid ORDER BY 1
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One table's place in the cluster, and the statement that puts it there."""

    table: str
    is_distributed: bool
    reason: str

    @property
    def sql(self) -> str:
        """The statement."""
        if not self.is_distributed:
            return f"SELECT create_reference_table('{self.table}')"
        beside = "" if self.table == FIRST else f", colocate_with => '{FIRST}'"
        return f"SELECT create_distributed_table('{self.table}', '{TENANT_COLUMN}'{beside})"


def plan() -> list[Step]:
    """Return all steps, in the order in which they can be carried out."""
    declared = sync_settings().reference_tables
    with_tenant: list[str] = []
    without: list[str] = []
    for model in apps.get_models(include_auto_created=True):
        meta = model._meta
        if meta.proxy or not meta.managed:
            continue
        is_spread = has_tenant(model) and meta.db_table not in declared
        (with_tenant if is_spread else without).append(meta.db_table)
    with_tenant.sort(key=lambda name: (name != FIRST, name))
    whole = [
        Step(table=name, is_distributed=False, reason=declared.get(name, "it has no tenant"))
        for name in sorted(without)
    ]
    spread = [
        Step(table=name, is_distributed=True, reason="all of a tenant's rows lie on one node")
        for name in with_tenant
    ]
    return [*whole, *spread]


def find_faults(steps: list[Step]) -> list[str]:
    """Return what the cluster would refuse: constraints that one node alone cannot judge."""
    is_spread = {step.table: step.is_distributed for step in steps}
    faults = [
        f"{name}: a unique index of {table} without {TENANT_COLUMN}"
        for name, table, columns in _ask(_UNIQUE)
        if is_spread.get(table) and TENANT_COLUMN not in columns
    ]
    for name, table, referred, columns in list_references():
        if not is_spread.get(referred):
            continue
        if not is_spread.get(table):
            faults.append(f"{name}: {table}, which each node has whole, refers to {referred}")
        elif TENANT_COLUMN not in columns:
            faults.append(f"{name}: {table} refers to {referred} without {TENANT_COLUMN}")
    return faults


def is_cluster() -> bool:
    """Whether the database has Citus."""
    ((found,),) = _ask(_IS_CITUS)
    return bool(found)


def list_done() -> set[str]:
    """Return the tables that have their place already; only for a cluster."""
    return {name for (name,) in _ask(_DONE)}


def carry_out(step: Step) -> None:
    """Put one table in its place; its rows are moved, and writes to it wait meanwhile."""
    _ask(step.sql)


def _ask(sql: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found
