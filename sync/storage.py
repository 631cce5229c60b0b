"""Rows in the project's own tables: load them in wire form, write them set-based.

    lock   lock the targets of one collection, and read their versions: one query
    apply  one INSERT, one UPDATE and one DELETE per collection, whatever the number of rows

A batch of rows goes to PostgreSQL as one JSON parameter: the driver dumps list parameters element
by element in Python, which costs several times as much.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import connection, transaction

from sync.database_verdict import REFUSALS, is_refusal
from sync.fields import FieldSpec, NestedSpec
from sync.registry import Collection, ranked_collections
from sync.types import RowState, Wire, Write
from sync.wire import decode, encode, splice

if TYPE_CHECKING:
    import datetime
    from uuid import UUID

_ENGINE_COLUMNS = {"id": "uuid", "version": "bigint", "field_versions": "jsonb"}


class Locked(NamedTuple):
    """What is read of a row together with its lock: all that the log does not hold."""

    version: int
    field_versions: dict[str, int]


def lock(collection: Collection, tenant_id: UUID, ids: Iterable[str]) -> dict[str, Locked]:
    """Lock the rows that exist, in order of their ids, and return their versions by id."""
    wanted = sorted(ids)
    if not wanted:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(_lock_sql(collection), [tenant_id, encode(wanted).decode()])
        return {
            row_id: Locked(version, decode(field_versions))
            for row_id, version, field_versions in cursor.fetchall()
        }


def read_rows(collection: Collection, tenant_id: UUID, ids: Iterable[str]) -> dict[str, RowState]:
    """Return these rows of a tenant by id, without locks and without scopes."""
    rows = collection.model._base_manager.filter(tenant_id=tenant_id, id__in=list(ids))
    found = {str(row[0]): row for row in rows.values_list(*_columns(collection))}
    return _states(collection, tenant_id, found)


def read(collection: Collection, tenant_id: UUID) -> dict[str, RowState]:
    """Return all rows of a tenant by id, without locks and without scopes."""
    rows = collection.model._base_manager.filter(tenant_id=tenant_id)
    found = {str(row[0]): row for row in rows.values_list(*_columns(collection))}
    return _states(collection, tenant_id, found)


def read_in_chunks(
    collection: Collection, tenant_id: UUID, chunk_rows: int
) -> Iterator[dict[str, RowState]]:
    """Yield all rows of a tenant, `chunk_rows` at a time, in order of their ids; as `read`.

    Whether they are of one moment is for the caller's transaction to say.
    """
    rows = collection.model._base_manager.filter(tenant_id=tenant_id).order_by("id")
    found: dict[str, tuple[Any, ...]] = {}
    while not found or len(found) == chunk_rows:
        following = rows.filter(id__gt=next(reversed(found))) if found else rows
        chunk = following.values_list(*_columns(collection))[:chunk_rows]
        found = {str(row[0]): row for row in chunk}
        if not found:
            return
        yield _states(collection, tenant_id, found)


def apply(writes: Sequence[Write], tenant_id: UUID, now: datetime.datetime) -> None:
    """Carry `writes` out, parents first, deletes last and children first; each kind by id.

    Raises:
        django.db.DatabaseError: the database refused; nothing of it is known by row.
    """
    by_collection: dict[str, list[Write]] = {}
    # A new row locks its id as well: two phones that create the same ones meet at the first.
    for write in sorted(writes, key=lambda write: write.key.id):
        by_collection.setdefault(write.key.collection, []).append(write)
    ranked = [c for name, c in ranked_collections().items() if name in by_collection]
    for collection in ranked:
        of_collection = by_collection[collection.name]
        inserts = [w for w in of_collection if w.before is None]
        updates = [w for w in of_collection if w.before is not None and w.after is not None]
        _insert(collection, inserts, tenant_id, now)
        _update(collection, updates, tenant_id, now)
        for spec in collection.nested:
            _write_children(spec, inserts + updates, tenant_id)
    for collection in reversed(ranked):
        _delete(collection, by_collection[collection.name], tenant_id)


def apply_by_halves(
    writes: Sequence[Write], tenant_id: UUID, now: datetime.datetime
) -> list[tuple[Write, Exception]]:
    """Carry out what the database accepts; return what it refuses, each with its error.

    What is refused as a whole is tried by halves, down to single rows, each on top of what was
    accepted before it: one bad row costs a few statements more, not one for each row.
    """
    rank = {name: position for position, name in enumerate(ranked_collections())}
    grown = [w for w in writes if w.after is not None]
    ended = [w for w in writes if w.after is None]
    grown.sort(key=lambda w: rank[w.key.collection])
    ended.sort(key=lambda w: -rank[w.key.collection])
    refused: list[tuple[Write, Exception]] = []
    waiting = [grown + ended]
    while waiting:  # ends: what is put back is shorter than what was taken
        part = waiting.pop()
        error = _refusal_of(part, tenant_id, now)
        if error is None:
            continue
        if len(part) == 1:
            refused.append((part[0], error))
        else:
            half = len(part) // 2
            waiting += [part[half:], part[:half]]
    return refused


def _refusal_of(
    writes: Sequence[Write], tenant_id: UUID, now: datetime.datetime
) -> Exception | None:
    try:
        with transaction.atomic():
            apply(writes, tenant_id, now)
    except REFUSALS as error:
        if not is_refusal(error):
            raise
        return error
    return None


def child_ids(
    collection: Collection, tenant_id: UUID, parent_ids: Iterable[str]
) -> dict[str, str]:
    """Return the rows of `collection` below these parents: id -> parent's id."""
    link = next(spec for spec in collection.fields if spec.name == collection.parent)
    rows = collection.model._base_manager.filter(
        tenant_id=tenant_id, **{f"{link.attname}__in": list(parent_ids)}
    ).values_list("id", link.attname)
    return {str(row_id): str(parent_id) for row_id, parent_id in rows}


def _columns(collection: Collection) -> list[str]:
    return ["id", "version", "field_versions", *(spec.attname for spec in collection.fields)]


def _states(
    collection: Collection, tenant_id: UUID, rows: Mapping[str, tuple[Any, ...]]
) -> dict[str, RowState]:
    children = {spec.name: _children(spec, tenant_id, rows) for spec in collection.nested}
    return {row_id: _state(collection, children, row) for row_id, row in rows.items()}


def _children(spec: NestedSpec, tenant_id: UUID, parents: Iterable[str]) -> dict[str, list[Wire]]:
    rows = spec.model._base_manager.filter(
        tenant_id=tenant_id, **{f"{spec.parent.attname}__in": list(parents)}
    )
    names = [field.attname for field in spec.fields]
    found: dict[str, list[Wire]] = {}
    for parent_id, *values in rows.values_list(spec.parent.attname, *names):
        found.setdefault(str(parent_id), []).append(_wire(spec.fields, values))
    return {parent_id: spec.sort(children) for parent_id, children in found.items()}


def _state(
    collection: Collection,
    children: Mapping[str, Mapping[str, list[Wire]]],
    row: tuple[Any, ...],
) -> RowState:
    row_id, version, field_versions, *values = row
    data = _wire(collection.fields, values)
    for name, of_parent in children.items():
        data[name] = of_parent.get(str(row_id), [])
    return RowState(version=version, field_versions=field_versions, data=data)


def _wire(fields: Sequence[FieldSpec], values: Iterable[Any]) -> Wire:
    return {spec.name: spec.render(value) for spec, value in zip(fields, values, strict=True)}


def _insert(
    collection: Collection, writes: Sequence[Write], tenant_id: UUID, now: datetime.datetime
) -> None:
    if not writes:
        return
    rows = b",".join(
        splice(
            write.payload,
            id=write.key.id,
            version=write.version,
            field_versions=write.after.field_versions,
        )
        for write in writes
        if write.after is not None and write.payload is not None
    )
    _execute(_insert_sql(collection), b"[%b]" % rows, tenant_id, now)


def _update(
    collection: Collection, writes: Sequence[Write], tenant_id: UUID, now: datetime.datetime
) -> None:
    if not writes:
        return
    edited = _edited(writes)
    names = [spec.name for spec in collection.fields if spec.name in edited]
    rows = [
        {
            "id": write.key.id,
            "version": write.version,
            "field_versions": write.after.field_versions,
            **{name: write.after.data[name] for name in names},
        }
        for write in writes
        if write.after is not None
    ]
    _execute(_update_sql(collection, tuple(names)), encode(rows), tenant_id, now)


def _edited(writes: Iterable[Write]) -> frozenset[str]:
    """Return the fields that any of these updates changes; no other column is written."""
    found: set[str] = set()
    for write in writes:
        if write.before is not None and write.after is not None:
            known = write.before.version
            found.update(n for n, version in write.after.field_versions.items() if version > known)
    return frozenset(found)


def _execute(sql: str, rows: bytes, tenant_id: UUID, now: datetime.datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, {"tenant": tenant_id, "now": now, "rows": rows.decode()})


def _write_children(spec: NestedSpec, writes: Sequence[Write], tenant_id: UUID) -> None:
    """Write the children that differ, those of all parents in two statements."""
    ended: list[Wire] = []
    grown: list[Wire] = []
    for write in writes:
        if write.after is None:
            continue
        after = write.after.data[spec.name]
        known = write.before.data[spec.name] if write.before else []
        if after is known or not (after or known):
            continue
        before = {child["id"]: child for child in known}
        kept = {child["id"] for child in after if before.get(child["id"]) == child}
        parent = write.key.id
        ended += [{"parent": parent, "id": key} for key in before.keys() - kept]
        grown += [{**child, "parent": parent} for child in after if child["id"] not in kept]
    for sql, rows in ((_delete_children_sql(spec), ended), (_insert_children_sql(spec), grown)):
        if rows:
            with connection.cursor() as cursor:
                cursor.execute(sql, {"tenant": tenant_id, "rows": encode(rows).decode()})


def _delete(collection: Collection, writes: Sequence[Write], tenant_id: UUID) -> None:
    ids = [write.key.id for write in writes if write.after is None]
    if ids:
        sql = (
            f"DELETE FROM {_quote(collection.table)} WHERE tenant_id = %s AND id = ANY(%s::uuid[])"  # noqa: S608  # names come from models
        )
        with connection.cursor() as cursor:
            cursor.execute(sql, [tenant_id, ids])


@functools.cache
def _insert_sql(collection: Collection) -> str:
    columns = [_quote(spec.column) for spec in collection.fields]
    values = [f"r.{_quote(spec.name)}" for spec in collection.fields]
    engine = list(_ENGINE_COLUMNS)
    return (
        f"INSERT INTO {_quote(collection.table)} "  # noqa: S608  # names come from models
        f"(tenant_id, created_at, updated_at, {', '.join(engine + columns)}) "
        f"SELECT %(tenant)s, %(now)s, %(now)s, "
        f"{', '.join([f'r.{name}' for name in engine] + values)} "
        f"FROM {_recordset(collection.fields)}"
    )


@functools.lru_cache(maxsize=1_000)  # sets of fields that clients edit together: few
def _update_sql(collection: Collection, names: tuple[str, ...]) -> str:
    fields = [spec for spec in collection.fields if spec.name in names]
    sets = [f", {_quote(spec.column)} = r.{_quote(spec.name)}" for spec in fields]
    return (
        f"UPDATE {_quote(collection.table)} AS t SET "  # noqa: S608  # names come from models
        f"version = r.version, field_versions = r.field_versions, updated_at = %(now)s"
        f"{''.join(sets)} FROM {_recordset(fields)} "
        f"WHERE t.tenant_id = %(tenant)s AND t.id = r.id"
    )


@functools.cache
def _lock_sql(collection: Collection) -> str:
    # No key: a plain FOR UPDATE would block every insert of a child.
    return (
        f"SELECT id::text, version, field_versions::text FROM {_quote(collection.table)} "  # noqa: S608
        f"WHERE tenant_id = %s "
        f"AND id = ANY(ARRAY(SELECT json_array_elements_text(%s::json)::uuid)) "
        f"ORDER BY id FOR NO KEY UPDATE"
    )


def _recordset(fields: Iterable[FieldSpec]) -> str:
    return _json_rows({**_ENGINE_COLUMNS, **{spec.name: spec.pg_type for spec in fields}})


def _json_rows(types: Mapping[str, str]) -> str:
    columns = ", ".join(f"{_quote(name)} {pg_type}" for name, pg_type in types.items())
    return f"json_to_recordset(%(rows)s::json) AS r({columns})"


@functools.cache
def _delete_children_sql(spec: NestedSpec) -> str:
    table, parent = _quote(spec.model._meta.db_table), _quote(spec.parent.column)
    return (
        f"DELETE FROM {table} AS t USING {_json_rows({'parent': 'uuid', 'id': 'uuid'})} "  # noqa: S608
        f"WHERE t.tenant_id = %(tenant)s AND t.{parent} = r.parent AND t.id = r.id"
    )


@functools.cache
def _insert_children_sql(spec: NestedSpec) -> str:
    table = _quote(spec.model._meta.db_table)
    columns = [_quote(field.column) for field in spec.fields]
    values = [f"r.{_quote(field.name)}" for field in spec.fields]
    types = {"parent": "uuid", **{field.name: field.pg_type for field in spec.fields}}
    return (
        f"INSERT INTO {table} (tenant_id, {_quote(spec.parent.column)}, {', '.join(columns)}) "  # noqa: S608
        f"SELECT %(tenant)s, r.parent, {', '.join(values)} FROM {_json_rows(types)}"
    )


def _quote(name: str) -> str:
    return connection.ops.quote_name(name)
