"""Queries: what they find is what a plain reading of all rows would find, and they use indexes."""

from __future__ import annotations

import operator
import sqlite3
import tempfile
import tracemalloc
from collections.abc import Callable
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from histories import MEMORY
from hypothesis import HealthCheck, given, settings, strategies as st

import fieldsync
from fieldsync.query import Query

MISSING = object()
OPERATORS = ("eq", "ne", "lt", "lte", "gt", "gte")

texts = st.text("ab É😀'\"%_", max_size=3)
numbers = st.one_of(
    st.integers(-3, 3),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([0.5, 1.0, -0.0, 1e300, 0.1, 2.0**53]),
    st.booleans(),
)
scalars = st.one_of(st.none(), texts, numbers)
values = st.one_of(st.just(MISSING), scalars, st.lists(texts, max_size=2), st.just({"a": "b"}))
rows = st.lists(st.tuples(values, values), max_size=8)


# the model


def kind_of(value: object) -> str:
    if value is None or value is MISSING:
        return "none"
    if isinstance(value, str):
        return "text"
    return "number" if isinstance(value, (bool, int, float)) else "other"


COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq,
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
    "contains": operator.contains,
}


def matches(found: Any, how: str, asked: Any) -> bool:
    """What the documentation says, row by row."""
    match how:
        case "ne":
            return not matches(found, "eq", asked)
        case "in":
            return any(matches(found, "eq", each) for each in asked)
        case "isnull":
            return (kind_of(found) == "none") is asked
        case "eq" if asked is None:
            return kind_of(found) == "none"
        case _:
            return kind_of(found) == kind_of(asked) and bool(COMPARISONS[how](found, asked))


def place_of(value: Any) -> tuple[int, Any]:
    """Where a value stands in an order."""
    match kind_of(value):
        case "none":
            return (0, 0)
        case "number":
            return (1, value)
        case _:
            return (2, value)


def fields(pair: tuple[Any, Any]) -> dict[str, Any]:
    outer, inner = pair
    data: dict[str, Any] = {} if outer is MISSING else {"f": outer}
    return data if inner is MISSING else data | {"in": {"ner": inner}}


@pytest.fixture(scope="module")
def client() -> Any:
    """One store for all examples: each has a collection of its own."""
    with (
        tempfile.TemporaryDirectory(dir=MEMORY) as folder,
        fieldsync.Client("http://server", store=Path(folder) / "a.db") as client,
    ):
        yield client


def fill(client: fieldsync.Client, drawn: list[tuple[Any, Any]]) -> dict[str, tuple[Any, Any]]:
    """Half of the rows as the server has them, half as they were made here."""
    store = client._engine._store
    with store.transaction():
        store.forget_everything()
    notes = client.collection("notes")
    by_id = {f"{at:02}": pair for at, pair in enumerate(drawn)}
    for row_id, pair in by_id.items():
        notes.create(fields(pair), id=row_id)
    with store.transaction():  # as if pushed and pulled
        moved = store.writer.execute(
            "SELECT collection, row_id, data FROM outbox WHERE row_id % 2"
        )
        for collection, row_id, text in moved:
            store.writer.execute("DELETE FROM outbox WHERE row_id = ?", (row_id,))
            store.touch(collection, row_id)
            store.writer.execute(
                "INSERT INTO replica VALUES (?, ?, 1, ?, 1)", (collection, row_id, text)
            )
    return by_id


laws = settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
asked = st.one_of(
    st.tuples(st.sampled_from(("eq", "ne")), scalars),
    st.tuples(st.sampled_from(OPERATORS), st.one_of(texts, numbers)),
    st.tuples(st.just("in"), st.lists(scalars, max_size=3)),
    st.tuples(st.just("contains"), texts),
    st.tuples(st.just("isnull"), st.booleans()),
)


@laws
@given(rows, asked, st.sampled_from(["f", "in.ner"]), st.booleans())
def test_query_finds_what_a_plain_reading_would(
    client: fieldsync.Client,
    drawn: list[tuple[Any, Any]],
    question: tuple[str, Any],
    path: str,
    is_indexed: bool,
) -> None:
    """Whether the server has the row or only this device, with an index or without."""
    how, value = question
    by_id = fill(client, drawn)
    notes = client.collection("notes")
    if is_indexed:
        notes.index(path)
    at = 0 if path == "f" else 1

    found = [row.id for row in notes.query(**{f"{path}__{how}": value})]
    number = notes.count(**{f"{path}__{how}": value})

    expected = [row_id for row_id, pair in by_id.items() if matches(pair[at], how, value)]
    assert found == expected
    assert number == len(expected)
    if how == "eq":
        assert [row.id for row in notes.query(**{path: value})] == expected


plain = st.one_of(st.just(MISSING), scalars)


@laws
@given(
    st.lists(st.tuples(plain, plain), max_size=8),
    st.booleans(),
    st.booleans(),
    st.none() | st.integers(0, 4),
    st.integers(0, 4),
)
def test_order_is_total_and_pages_fit_together(
    client: fieldsync.Client,
    drawn: list[tuple[Any, Any]],
    is_down: bool,
    is_indexed: bool,
    limit: int | None,
    offset: int,
) -> None:
    """Nothing, then numbers, then texts; level rows by id, whichever way the order goes."""
    by_id = fill(client, drawn)
    notes = client.collection("notes")
    if is_indexed:
        notes.index("f")

    found = notes.query(order="-f" if is_down else "f", limit=limit, offset=offset)

    expected = sorted(by_id, key=lambda row_id: place_of(by_id[row_id][0]), reverse=is_down)
    if is_down:  # Python keeps level rows in their order also when it turns it around
        assert sorted(by_id) == list(by_id)
    end = None if limit is None else offset + limit
    assert [row.id for row in found] == expected[offset:end]


# what an app asks


@pytest.fixture
def orders(phone: Any) -> Any:
    """Pulled from the server, but for the last."""
    orders = phone["work_orders"]
    for at, (status, priority) in enumerate([("open", 1), ("open", 3), ("done", 2), ("open", 2)]):
        orders.create(
            {"status": status, "priority": priority, "customer": {"name": f"C{at}"}}, id=f"w{at}"
        )
        if at == 2:
            phone.sync()
    return orders


def ids(rows: Any) -> list[str]:
    return [row.id for row in rows]


def test_conditions_add_up_and_order_goes_by_several_fields(orders: Any) -> None:
    """What a list on a screen needs."""
    assert ids(orders.query(status="open", priority__gte=2)) == ["w1", "w3"]
    assert ids(orders.query(order=("status", "-priority"))) == ["w2", "w1", "w3", "w0"]
    assert ids(orders.query(order="-id", limit=2)) == ["w3", "w2"]
    assert ids(orders.query(status__in=["done", "gone"], id__ne="w9")) == ["w2"]
    assert ids(orders.query(**{"customer.name__contains": "3"})) == ["w3"]
    assert orders.first(order="-priority").id == "w1"
    assert orders.first(status="gone") is None
    assert orders.count(status="open") == 3


def test_edited_rows_are_found_as_they_are_here(orders: Any) -> None:
    """And deleted ones are not, before any server has heard of it."""
    orders.update("w0", {"status": "done"})
    orders.delete("w2")

    assert ids(orders.query(status="done")) == ["w0"]
    assert ids(orders.query(status="open")) == ["w1", "w3"]
    assert orders.count() == 3


def test_dates_ids_and_choices_are_asked_for_as_they_are_on_the_wire(phone: Any) -> None:
    """An app has values, not texts."""

    class Kind(StrEnum):
        REPAIR = "repair"

    row_id = UUID("0199f7a2-5b3c-7d1e-8f40-9a6b2c3d4e5f")
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    phone["work_orders"].create(
        {"at": at, "on": date(2026, 1, 2), "site": row_id, "kind": "repair"}
    )

    for question in (
        {"at": at},
        {"on__lte": date(2026, 1, 3)},
        {"site": row_id},
        {"kind": Kind.REPAIR},
    ):
        assert phone["work_orders"].count(**question) == 1


@pytest.mark.parametrize(
    ("question", "remedy"),
    [
        ({"priority__gtt": 1}, "unknown operator 'gtt'.* lte.* customer.name"),
        ({'a") OR 1=1 --': 1}, "is no field"),
        ({"a'b": 1}, "is no field"),
        ({"a..b": 1}, "is no field"),
        ({"": 1}, "is no field"),
        ({"a": [1]}, "compare with texts, numbers and None"),
        ({"a": object()}, "compare with texts, numbers and None"),
        ({"a__lt": None}, "a__isnull=True"),
        ({"a__in": "open"}, "takes a list"),
        ({"a__in": 5}, "takes a list"),
        ({"a__isnull": 1}, "True or False"),
        ({"a__contains": 1}, "takes a text"),
        ({"a": float("nan")}, "no number"),
        ({"a": 2**63}, "64 bits"),
        ({"order": ["-a b"]}, "is no field"),
        ({"limit": -1}, "limit is -1"),
        ({"offset": -1}, "offset is -1"),
    ],
)
def test_question_that_makes_no_sense_is_an_error_with_its_remedy(
    phone: Any, question: dict[str, Any], remedy: str
) -> None:
    """At once, also where no row would have been looked at."""
    with pytest.raises(ValueError, match=remedy):
        phone["work_orders"].iterate(**question)


def test_names_and_values_are_never_sql(phone: Any) -> None:
    """Quotes in a collection or a value are letters like others."""
    odd = phone['it\'s "odd"; --']
    odd.index("title")
    odd.create({"title": "' OR 1=1 --"})
    odd.create({"title": "other"})

    assert odd.count(title="' OR 1=1 --") == 1
    assert odd.count() == 2
    with pytest.raises(ValueError, match="no field"):
        odd.index("title'); DROP TABLE replica; --")
    with pytest.raises(ValueError, match="at least one"):
        odd.index()


# indexes


@pytest.mark.parametrize(
    ("fields", "question", "used"),
    [
        (["status"], {"where": {"status": "open"}}, "status"),
        (["status"], {"where": {"status__in": ["open", "done"]}}, "status"),
        (["priority"], {"where": {"priority__gte": 2}}, "priority"),
        (["customer.name"], {"where": {"customer.name": "C1"}}, "customer.name"),
        (["created_at"], {"order": "-created_at", "limit": 5}, "created_at"),
        (["status", "created_at"], {"where": {"status": "x"}, "order": "created_at"}, "status"),
    ],
)
def test_indexes_are_used(
    phone: Any, fields: list[str], question: dict[str, Any], used: str
) -> None:
    """A list of open orders does not read 50,000 rows."""
    phone["work_orders"].index(*fields)
    sql, values = Query(collection="work_orders", **question).select()

    with phone.client._engine._store.reading() as connection:
        plan = [row[-1] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]

    ours = [line for line in plan if "replica" in line]
    assert any(f"USING INDEX rows work_orders {used}" in line for line in ours), plan


def test_index_is_of_one_collection_and_made_once(phone: Any) -> None:
    """Other collections do not pay for it, and a start that asks again changes nothing."""
    store = phone.client._engine._store
    phone["work_orders"].index("status")
    phone["work_orders"].index("status")
    sql, values = Query(collection="notes", where={"status": "open"}).select()

    plan = store.writer.execute(f"EXPLAIN QUERY PLAN {sql}", values)

    assert not any("INDEX rows" in row[-1] for row in plan)
    names = store.writer.execute("SELECT name FROM sqlite_master WHERE name LIKE 'rows %'")
    assert names == [("rows work_orders status",)]


# one by one


def test_iterating_does_not_hold_all_rows(client: fieldsync.Client) -> None:
    """A first look at 50,000 rows needs no more memory than one at ten."""
    store = client._engine._store
    with store.transaction():
        store.forget_everything()
        store.writer.executemany(
            "INSERT INTO replica VALUES ('notes', ?, 1, ?, 1)",
            ((f"{at:05}", '{"text": "%s"}' % ("x" * 500)) for at in range(4_000)),
        )
    notes = client.collection("notes")

    def peak_of(order: str) -> int:
        tracemalloc.start()
        try:
            assert sum(1 for _ in notes.iterate(order=order)) == 4_000
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert max(peak_of("id"), peak_of("-id"), peak_of("text")) < 100_000  # bytes; all are 2 MB


def test_iterating_sees_one_moment(phone: Any) -> None:
    """Edits made meanwhile neither show nor disturb, also in the middle."""
    notes = phone["notes"]
    for at in range(3):
        notes.create({"text": "old"}, id=f"n{at}")

    rows = notes.iterate()
    first = next(rows)
    for at in range(3):
        notes.update(f"n{at}", {"text": "new"})
    notes.create({"text": "new"}, id="n3")

    assert [first.data["text"], *(row.data["text"] for row in rows)] == ["old"] * 3
    assert notes.count(text="new") == 4


def test_iteration_that_is_given_up_gives_its_connection_back(phone: Any) -> None:
    """Screens are left in the middle of a list."""
    notes = phone["notes"]
    for at in range(3):
        notes.create({"text": "x"}, id=f"n{at}")

    for _ in range(5):
        rows = phone.client._engine.rows.iterate(Query(collection="notes"))
        next(rows)
        cursor = rows.gi_frame.f_locals["cursor"]
        rows.close()
        with pytest.raises(sqlite3.ProgrammingError, match="closed cursor"):
            cursor.fetchone()

    assert len(phone.client._engine._store._readers._idle) == 1
