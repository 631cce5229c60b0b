"""What every registered collection must do; a new one is tested by existing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from sync import local_edits, storage
from sync.fields import FieldSpec, NestedSpec
from sync.models import ChangeRow
from sync.registry import Collection, ranked_collections
from sync.types import Mutation, Outcome
from tests.fieldwork.samples import CHILDREN, Samples
from tests.phones import World, new_id

ROWS = 200
COLLECTIONS = list(ranked_collections().values())


@pytest.fixture(params=COLLECTIONS, ids=lambda each: each.name)
def collection(request: pytest.FixtureRequest) -> Collection:
    found: Collection = request.param
    return found


@pytest.fixture
def samples(wales: World) -> Samples:
    return Samples(wales.tenant.pk)


def test_there_are_the_collections_of_the_domain() -> None:
    """A collection that is not registered would pass every test below."""
    assert sorted(ranked_collections()) == [
        "assets", "inspections", "notes", "parts_used", "sites", "territories", "work_orders",
    ]  # fmt: skip


def test_row_is_stored_and_told_as_it_was_sent(collection: Collection, samples: Samples) -> None:
    """The table, the feed and the phone that sent the row hold the same values."""
    mutation = samples.create(collection)
    local_edits.apply(samples.tenant_id, [mutation])

    stored = storage.read_rows(collection, samples.tenant_id, [mutation.id])[mutation.id].data
    change = ChangeRow.objects.get(collection=collection.name, row_id=mutation.id)
    told = json.loads(change.payload or "")

    assert told == stored
    for name, value in mutation.data.items():
        if name in {spec.name for spec in collection.nested}:
            assert sorted(c["id"] for c in stored[name]) == sorted(c["id"] for c in value)
            assert len(stored[name]) == CHILDREN
            by_id = {child["id"]: child for child in value}
            assert all(child == by_id[child["id"]] for child in stored[name])
        else:
            assert stored[name] == value, name


def test_resent_create_is_unchanged(collection: Collection, samples: Samples) -> None:
    """What comes out of the table equals what the phone sends again, field by field."""
    mutation = samples.create(collection)
    local_edits.apply(samples.tenant_id, [mutation])

    (result,) = local_edits.apply(samples.tenant_id, [mutation])

    assert result.outcome is Outcome.UNCHANGED


def test_columns_are_those_of_the_table(collection: Collection, db: None) -> None:
    """Set-based SQL names columns and types itself; they must be the table's."""
    assert_columns_exist(collection.table, collection.fields)
    for nested in collection.nested:
        assert_columns_exist(nested.model._meta.db_table, [*nested.fields, nested.parent])


def test_cost_of_creating_does_not_grow_with_rows(
    collection: Collection, samples: Samples
) -> None:
    """Every query more for each row would be felt by a phone that was offline for a week."""
    local_edits.apply(samples.tenant_id, [samples.create(collection)])  # what is shared exists now
    one, many = [samples.create(collection)], [samples.create(collection) for _ in range(ROWS)]

    assert queries_of(samples, one) == queries_of(samples, many)


def test_cost_of_editing_does_not_grow_with_rows(collection: Collection, samples: Samples) -> None:
    rows = [samples.create(collection) for _ in range(ROWS + 1)]
    local_edits.apply(samples.tenant_id, rows)
    text = next(n for n, v in rows[0].data.items() if isinstance(v, str) and v.startswith("Ff"))
    edits = [local_edits.update(collection.name, row.id, {text: "Late"}) for row in rows]

    assert queries_of(samples, edits[:1]) == queries_of(samples, edits[1:])


def test_nested_children_of_an_edit_are_judged_whole(wales: World) -> None:
    """An edit sends whole children, though the row lacks fields; a new child lacks nothing."""
    samples = Samples(wales.tenant.pk)
    phone = wales.hire()
    for collection in COLLECTIONS:
        for nested in collection.nested:
            row = samples.create(collection)
            local_edits.apply(samples.tenant_id, [row])
            edit = {
                "op": "update", "collection": collection.name, "id": row.id, "base_version": 1,
                "data": {nested.name: [{"id": new_id()}]},
            }  # fmt: skip
            assign_to_territory(samples, wales, collection, row)

            (result,) = phone.push(edit)

            assert result["outcome"] == "invalid", result
            assert {e["path"] for e in result["errors"]} >= {
                f"{nested.name}.0.{name}" for name in required_names(collection, nested) - {"id"}
            }


def required_names(collection: Collection, nested: NestedSpec) -> set[str]:
    listed: Any = collection.serializer().fields[nested.name]
    return {name for name, field in listed.child.fields.items() if field.required}


def assign_to_territory(
    samples: Samples, world: World, collection: Collection, row: Mutation
) -> None:
    """Bring the samples' site into the territory of the technician."""
    site = samples._targets["sites"]
    local_edits.apply(
        samples.tenant_id, [local_edits.update("sites", site, {"territory": world.cardiff})]
    )


def queries_of(samples: Samples, mutations: list[Mutation]) -> int:
    with CaptureQueriesContext(connection) as queries:
        local_edits.apply(samples.tenant_id, mutations)
    return len(queries)


def assert_columns_exist(table: str, specs: Iterable[FieldSpec]) -> None:
    with connection.cursor() as cursor:
        for spec in specs:
            cursor.execute(
                "SELECT atttypid = %s::regtype FROM pg_attribute "
                "WHERE attrelid = %s::regclass AND attname = %s AND NOT attisdropped",
                [spec.pg_type, table, spec.column],
            )
            assert cursor.fetchone() == (True,), f"{table}.{spec.column} is no {spec.pg_type}"
