"""Scope sets for cursors to name; checksums beside the entries, and by another hash."""

from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models

CHECKSUM = """
UPDATE sync_change SET digest = ('x' || encode(substr(sha256(convert_to(
    row_id || E'\\n' || version || E'\\n' || coalesce(payload, ''), 'UTF8')), 1, 8), 'hex')
)::bit(64)::bigint
"""
COPY = """
UPDATE sync_entry e SET
    digest = coalesce(c.digest, 0), bucket = get_byte(sha256(convert_to(e.row_id, 'UTF8')), 0)
FROM sync_entry o LEFT JOIN sync_change c
    ON (c.tenant_id, c.collection, c.row_id) = (o.tenant_id, o.collection, o.row_id)
WHERE (e.tenant_id, e.scope, e.collection, e.row_id)
    = (o.tenant_id, o.scope, o.collection, o.row_id)
"""


class Migration(migrations.Migration):
    """Checksums of what is there are made anew by SQL; going back leaves them as they are."""

    dependencies = [("sync", "0002_quarantine")]

    operations = [
        migrations.CreateModel(
            name="ScopeSet",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "tenant_id",
                        "digest",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("tenant_id", models.UUIDField()),
                ("digest", models.BinaryField(max_length=16)),
                ("scopes", ArrayField(base_field=models.CharField(max_length=80), size=None)),
                (
                    "collections",
                    ArrayField(base_field=models.CharField(max_length=64), null=True, size=None),
                ),
            ],
            options={"db_table": "sync_scope_set"},
        ),
        migrations.AddField("entry", "digest", models.BigIntegerField(default=0)),
        migrations.AddField("entry", "bucket", models.SmallIntegerField(default=0)),
        migrations.RunSQL([CHECKSUM, COPY], migrations.RunSQL.noop),
        migrations.AlterField("entry", "digest", models.BigIntegerField()),
        migrations.AlterField("entry", "bucket", models.SmallIntegerField()),
        migrations.AddIndex(
            model_name="entry",
            index=models.Index(
                condition=~models.Q(op="upsert"),
                fields=["tenant_id", "seq"],
                name="sync_entry_prunable",
            ),
        ),
    ]
