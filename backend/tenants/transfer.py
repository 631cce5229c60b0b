"""A tenant on its way to another installation: into an archive, and out of one.

    write_archive   one snapshot -> rows as PostgreSQL writes them in JSON -> archive
    read_archive    archive -> one transaction: all of it, or nothing

What is not for travelling is changed on the way in: the feed gets a new epoch, so that devices
pull afresh; logins are over, since the tokens of one installation are not those of another; and
nobody becomes staff by being in somebody's archive.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from itertools import groupby, islice
from typing import IO, TYPE_CHECKING, Any, Final

import msgspec
from django.db import DatabaseError, connection, transaction
from django.db.migrations.recorder import MigrationRecorder

from backend.accounts.models import Device, Tenant, User
from backend.tenants.archive import Manifest, Reader, Row, Writer
from backend.tenants.tables import PEOPLE, Table, count_rows, list_tables
from sync import transactions
from sync.clock import render_time, utc_now
from sync.models import Stream

if TYPE_CHECKING:
    from uuid import UUID

CHUNK_ROWS: Final = 1_000  # rows a statement, and in memory

_READ: Final = """
SELECT row_to_json(t)::text FROM (SELECT {columns} FROM "{name}" WHERE {condition}) AS t
"""
# Each row after the one that it names.
_READ_TREE: Final = """
WITH RECURSIVE tree(id, depth) AS (
    SELECT id, 0 FROM "{name}" WHERE {condition} AND {parent} IS NULL
    UNION ALL
    SELECT c.id, tree.depth + 1 FROM tree JOIN "{name}" c ON c.{parent} = tree.id
    WHERE {condition}
)
SELECT row_to_json(t)::text FROM (SELECT {columns} FROM "{name}" WHERE {condition}) AS t
JOIN tree USING (id) ORDER BY tree.depth
"""
_WRITE: Final = """
INSERT INTO "{name}" ({columns})
SELECT {columns} FROM json_populate_recordset(NULL::"{name}", %s::json) {otherwise}
"""
_TAKEN: Final = """
SELECT u.username FROM json_populate_recordset(NULL::"{name}", %s::json) AS u
JOIN "{name}" AS here ON here.username = u.username AND here.id <> u.id ORDER BY 1
"""


class CannotImport(Exception):
    """The archive does not fit this installation; nothing was written."""


def write_archive(
    tenant: Tenant, file: IO[bytes], on_progress: Callable[[int], None] = lambda _: None
) -> Manifest:
    """Write all that is a tenant's, as it is at one moment; return the archive's manifest.

    Memory does not grow with the tenant. `on_progress` is told how many rows are written.
    """
    tables = list_tables()
    with transactions.snapshot():
        manifest = Manifest(
            tenant={"id": str(tenant.pk), "slug": tenant.slug, "name": tenant.name},
            exported_at=render_time(utc_now()),
            migrations=_migrations(tables),
            rows=count_rows(tables, tenant.pk),
        )
        writer = Writer(file, manifest)
        written = 0
        for table in tables:
            writer.begin(table.name)
            for chunk in _read(table, tenant.pk):
                for (text,) in chunk:
                    writer.add(text.encode())
                written += len(chunk)
                on_progress(written)
        writer.end()
    return manifest


def read_archive(
    reader: Reader, *, slug: str | None = None, on_progress: Callable[[int], None] = lambda _: None
) -> Tenant:
    """Write all that an archive holds into this database; `slug` gives the tenant another one.

    Raises:
        ArchiveInvalid: it is not a whole one.
        CannotImport: it does not fit here. In both cases nothing was written.
    """
    tables = {table.name: table for table in list_tables()}
    manifest = reader.manifest
    slug = slug or manifest.tenant["slug"]
    _check_fit(manifest, list(tables.values()), slug)
    written = 0
    try:
        with transaction.atomic():
            for name, rows in groupby(reader.rows(), key=lambda row: row.table):
                while chunk := list(islice(rows, CHUNK_ROWS)):
                    _write(tables[name], chunk, slug)
                    written += len(chunk)
                    on_progress(written)
    except DatabaseError as error:
        message = f"the database refuses it: {error}"
        raise CannotImport(message) from error
    return Tenant.objects.get(pk=manifest.tenant["id"])


def _read(table: Table, tenant_id: UUID) -> Iterator[list[tuple[str]]]:
    sql = (_READ_TREE if table.parent else _READ).format(
        name=table.name,
        columns=", ".join(f'"{column}"' for column in table.columns),
        condition=table.condition,
        parent=table.parent,
    )
    with connection.chunked_cursor() as cursor:
        cursor.execute(sql, {"tenant": tenant_id})
        while chunk := cursor.fetchmany(CHUNK_ROWS):
            yield chunk


def _check_fit(manifest: Manifest, tables: list[Table], slug: str) -> None:
    here = _migrations(tables)
    if manifest.migrations != here:
        others = {
            app: f"{manifest.migrations.get(app)} there, {here.get(app)} here"
            for app in sorted({*manifest.migrations, *here})
            if manifest.migrations.get(app) != here.get(app)
        }
        message = f"it is of another release; bring both to the same one: {others}"
        raise CannotImport(message)
    if set(manifest.rows) != {table.name for table in tables}:
        message = "its tables are not those of this installation"
        raise CannotImport(message)
    if Tenant.objects.filter(pk=manifest.tenant["id"]).exists():
        message = f"the tenant {manifest.tenant['id']} is here already; tenant_delete deletes it"
        raise CannotImport(message)
    if Tenant.objects.filter(slug=slug).exists():
        message = f"another tenant has the slug {slug!r} here: give this one another by --slug"
        raise CannotImport(message)


def _migrations(tables: list[Table]) -> dict[str, str]:
    apps = {table.model._meta.app_label for table in tables}
    applied = MigrationRecorder(connection).applied_migrations()
    return {app: max(name for of, name in applied if of == app) for app in sorted(apps)}


def _write(table: Table, rows: list[Row], slug: str) -> None:
    changes = _changes(table, slug)
    texts = [row.text for row in rows]
    if changes:
        texts = [msgspec.json.encode(msgspec.json.decode(text) | changes) for text in texts]
    together = f"[{','.join(text.decode() for text in texts)}]"
    is_people = table.name == PEOPLE
    with connection.cursor() as cursor:
        if is_people:
            _refuse_namesakes(cursor, together)
        cursor.execute(
            _WRITE.format(
                name=table.name,
                columns=", ".join(f'"{column}"' for column in table.columns),
                # A person who is known here, by a tenant of theirs that is here already.
                otherwise="ON CONFLICT (id) DO NOTHING" if is_people else "",
            ),
            [together],
        )


def _changes(table: Table, slug: str) -> dict[str, Any]:
    """Return what rows of a table do not bring along."""
    if table.model is Tenant:
        return {"slug": slug}
    if table.model is User:
        return {"is_staff": False, "is_superuser": False}
    if table.model is Device:
        return {"login_id": None, "refresh_key": None, "refresh_hash": None}
    if table.model is Stream:
        return {"epoch": str(uuid.uuid4())}
    return {}


def _refuse_namesakes(cursor: Any, people: str) -> None:
    cursor.execute(_TAKEN.format(name=PEOPLE), [people])
    names = [name for (name,) in cursor.fetchall()]
    if names:
        message = f"other people have these user names here: {', '.join(names)}. Rename them."
        raise CannotImport(message)
