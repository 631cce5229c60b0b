"""The fast judge against the serializers: for every collection the same verdict and values.

What is accepted as plainly good must be good to the serializer too, with the same result to the
byte. The values are drawn near the edges of every kind of field, and from any JSON at all.
"""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from sync.fields import NestedSpec
from sync.registry import ranked_collections
from sync.types import NestedPolicy, Wire
from sync.validation import RowJudge
from sync.wire import encode

UUID = "0199aaaa-0000-7000-8000-00000000000a"
TIMES = [
    "2026-11-23T16:00:00Z",
    "2026-11-23T16:00:00.5Z",
    "2026-11-23T16:00:00.123456Z",
    "2026-11-23T16:00:00.000000Z",
    "2026-11-23T16:00:00.1234567Z",
    "2026-11-23T16:00:00+02:00",
    "2026-11-23T16:00:00",
    "2026-11-23 16:00:00Z",
    "2026-11-23t16:00:00z",
    "2026-11-23T24:00:00Z",
    "2026-11-23T16:00:60Z",
    "2026-02-30T16:00:00Z",
    "2026-13-01T00:00:00Z",
    "0001-01-01T00:00:00Z",
    "0000-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999Z",
    "٢٠٢٦-11-23T16:00:00Z",
    "2026-11-23",
    "2026-02-29",
    "2024-02-29",
    "20261123",
]
NUMBERS = ["0", "0.000", "-0", "2.5", "02.5", "2.500", "2.5000", "1e3", " 2.5", "2.", ".5", "-2.5", "+2.5",
           "0.001", "0.0009", "123456789", "1234567890", "999999999.999", "NaN", "Infinity", "1_0", "٢"]  # fmt: skip
TEXTS = ["", " ", "x", " x", "x ", "x\n", "a\nb", "\x00", "x\x00y", "\ud800", "é", "\u00a0x", "\u200bx", "\x1f",
         "x" * 16, "x" * 17, "x" * 64, "x" * 65, "x" * 100, "x" * 101, "x" * 200, "x" * 201, "x" * 500,
         "x" * 501, "x" * 2_000, "x" * 2_001, "x" * 5_000, "x" * 5_001, "open", "repair", "draft", "in_service",
         "true", "1", UUID, UUID.upper(), UUID.replace("-", ""), f"urn:uuid:{UUID}", f"{{{UUID}}}"]  # fmt: skip
OTHERS: list[Any] = [None, True, False, 0, 1, 2, 3, 5, 6, -1, 2**31 - 1, 2**31, -(2**31) - 1, 2**63 - 1, 2**63, 2**64, 32767,
          32768, 0.0, -0.0, 1.0, 1.5, 90, 90.0, 90.01, -180, 1e308, float("nan"), float("inf"), [], {}, [[]], {"a": 1}]  # fmt: skip

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
values = st.one_of(
    st.sampled_from([*TIMES, *NUMBERS, *TEXTS, *OTHERS]),
    st.text(max_size=12),
    st.integers(-(2**65), 2**65),
    st.floats(),
    st.decimals(allow_nan=False, places=3).map(str),
    st.datetimes().map(lambda at: at.replace(tzinfo=datetime.UTC).isoformat().replace("+00:00", "Z")),
    st.dates().map(str),
    st.uuids().map(str),
    json_values,
)  # fmt: skip


# What a field of each class is likely to take; all others take short texts.
GOOD: dict[str, st.SearchStrategy[Any]] = {
    "UUIDField": st.uuids().map(str),
    "ReferenceField": st.uuids().map(str),
    "IntegerField": st.integers(1, 5),
    "BooleanField": st.booleans(),
    "DateTimeField": st.sampled_from(TIMES[:4]),
    "DateField": st.sampled_from(["2026-11-23", "2024-02-29"]),
    "DecimalField": st.sampled_from(["2.5", "1", "12.345"]),
    "AttributesField": st.just({"a": 1}),
    "DegreesField": st.floats(-90, 90),
}


def good(field: Any) -> st.SearchStrategy[Any]:
    if hasattr(field, "choices"):
        return st.sampled_from(sorted(field.choices))
    return GOOD.get(type(field).__name__, st.sampled_from(["x", "pump seal"]))


def rows_of(judge: RowJudge, nested: dict[str, NestedSpec]) -> st.SearchStrategy[Wire]:
    """Rows that are good but for one or two fields, which may be anything."""
    fields = {n: f for n, f in judge.serializer.fields.items() if not f.read_only}

    def value_of(name: str, field: Any) -> st.SearchStrategy[Any]:
        if name in nested:
            child = RowJudge(field.child, nested[name].fields)
            return st.lists(rows_of(child, {}), max_size=3)
        return good(field)

    def spoil(pair: tuple[Wire, Wire, list[str]]) -> Wire:
        row, spoilt, dropped = pair
        return {k: v for k, v in {**row, **spoilt}.items() if k not in dropped}

    names = st.sampled_from([*fields, "unknown", "version", "tenant_id", "id"])
    return st.tuples(
        st.fixed_dictionaries({n: value_of(n, f) for n, f in fields.items()}),
        st.dictionaries(names, values, max_size=2),
        st.lists(names, max_size=2),
    ).map(spoil)


def judges() -> dict[str, tuple[RowJudge, dict[str, NestedSpec]]]:
    """Return what judges creates, updates and edits of single children, for every collection."""
    found = {}
    for name, collection in ranked_collections().items():
        nested = {spec.name: spec for spec in collection.nested}
        for partial in (False, True):
            serializer = collection.serializer(partial=partial)
            judge = RowJudge(serializer, collection.fields, collection.nested)
            found[f"{name}-{'part' if partial else 'whole'}"] = judge, nested
        for spec in collection.nested:
            listed: Any = collection.serializer().fields[spec.name]
            child = type(listed.child)(partial=True)
            found[f"{name}.{spec.name}-edit"] = RowJudge(child, spec.fields), {}
    return found


JUDGES = judges()


@pytest.mark.parametrize("name", JUDGES)
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_rows_that_are_plainly_good_are_judged_as_the_serializer_does(
    name: str, data: Any
) -> None:
    """Speed must never let anything through, nor store it in another form."""
    judge, nested = JUDGES[name]
    row = data.draw(
        rows_of(judge, nested) | st.dictionaries(st.text(), values, max_size=3) | json_values
    )

    plain = judge.plain.accept(row)

    if plain is not None:
        asked = judge.ask(row)
        assert isinstance(asked, dict), asked
        assert encode(plain) == encode({key: asked[key] for key in plain})
        assert plain.keys() == asked.keys()


@pytest.mark.parametrize("name", JUDGES)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_what_clients_send_is_plainly_good(name: str, data: Any) -> None:
    """A fast path that nothing takes would pass every other test."""
    judge, _ = JUDGES[name]

    def row_of(fields: Any) -> st.SearchStrategy[Wire]:
        written = {each: field for each, field in fields.items() if not field.read_only}
        return st.fixed_dictionaries({each: value_of(f) for each, f in written.items()})

    def value_of(field: Any) -> st.SearchStrategy[Any]:
        child = getattr(field, "child", None)
        return st.lists(row_of(child.fields), min_size=1) if child is not None else good(field)

    row = data.draw(row_of(judge.serializer.fields))

    assert judge.plain.accept(row) is not None


def test_an_inspection_merges_its_answers() -> None:
    """Otherwise the edits of single children would not be among the judges above."""
    policies = {s.name: s.policy for s in ranked_collections()["inspections"].nested}

    assert policies == {"answers": NestedPolicy.MERGE_BY_ID}
