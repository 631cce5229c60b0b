"""The keys of receipts and parked mutations begin with the tenant, as all others do.

Made beside traffic: the index first, and then the key on it, which is a moment's lock.
"""

from django.db import migrations

import sync.tenancy

SWAP = [
    "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS {new} ON {table} ({columns})",
    "ALTER TABLE {table} DROP CONSTRAINT {old}, ADD CONSTRAINT {new} PRIMARY KEY USING INDEX {new}",
]


def swap(model: str, table: str) -> migrations.SeparateDatabaseAndState:
    name = f"{table}_tenant_id"
    key = sync.tenancy.TenantPrimaryKey(fields=("tenant_id", "id"), name=name)
    return migrations.SeparateDatabaseAndState(
        database_operations=[
            migrations.RunSQL(
                [
                    each.format(table=table, old=f"{table}_pkey", new=name, columns="tenant_id, id")
                    for each in SWAP
                ],
                [
                    each.format(table=table, old=name, new=f"{table}_pkey", columns="id")
                    for each in SWAP
                ],
            )
        ],
        state_operations=[migrations.AddConstraint(model_name=model, constraint=key)],
    )


class Migration(migrations.Migration):
    atomic = False  # CONCURRENTLY is not for a transaction

    dependencies = [("sync", "0005_conflict")]

    operations = [swap("receipt", "sync_request"), swap("parkedmutation", "sync_quarantine")]
