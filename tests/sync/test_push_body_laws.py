"""Push bodies that nobody thought of: the fast parser takes exactly what a slow and obvious one does."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hypothesis import example, given, settings, strategies as st

from sync.errors import BodyMalformed, LimitExceeded
from sync.push_body import PushRequest, parse_push, parse_rows
from sync.types import Op, Policy
from tests.sync.slow_parser import (
    DEPTH_MAX,
    ROWS_MAX,
    Refused,
    TooManyRows,
    slow_push,
    slow_rows,
)


def parse(body: bytes) -> PushRequest:
    return parse_push(body, rows_max=ROWS_MAX, depth_max=DEPTH_MAX)


def parse_list(body: bytes, op: Op) -> PushRequest:
    return parse_rows(body, op=op, collection="notes", rows_max=ROWS_MAX, depth_max=DEPTH_MAX)


def push_of(data: bytes) -> bytes:
    """Return a push of one create with these bytes as its data."""
    return b'{"mutations":[{"op":"create","collection":"notes","id":"1","data":' + data + b"}]}"


SPACES = st.sampled_from(["", "", "", " ", "\n", "\t", "  "])
PIECES = st.sampled_from(
    ["a", "b", ":", " :", "{", "[", ",", "é", "\U0001f527", "u0000", "\x7f", "\x01", "\0", "\ud800",
     r"\"", r"\":", r"\\", r"\/", r"\n", r"\u0000", r"\\u0000", r"\u0061", r"\ud800", r"\udc00",
     r"\ud83d\udd27", r"\x", r"\u12"]
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=4).map(lambda pieces: '"' + "".join(pieces) + '"')
NAMES = st.one_of(
    st.sampled_from(['"a"', '"b"', '"c"', '"id"', '"base_version"', r'"\u0061"']), TEXTS
)
NUMBERS = st.one_of(
    st.integers(-3, 3).map(str),
    st.integers(-(2**65), 2**65).map(str),
    st.floats(allow_nan=True).map(json.dumps),
    st.sampled_from(
        ["9223372036854775807", "9223372036854775808", "-9223372036854775808",
         "-9223372036854775809", "18446744073709551616", "9" * 30, "9" * 5_000, "1e999", "-1e999",
         "1e-999", "1.7976931348623157e308", "1.7976931348623158e308", "1.7976931348623159e308",
         "-0", "-0.0", "01", "1.", ".5", "+1", "1E5", "0x1", "NaN", "Infinity", "-Infinity"]
    ),
)  # fmt: skip
LEAVES = st.one_of(TEXTS, NUMBERS, st.sampled_from(["true", "false", "null", "True"]))


@st.composite
def lists(draw: Any, items: st.SearchStrategy[str]) -> str:
    inner: list[str] = draw(st.lists(items, max_size=3))
    return f"[{draw(SPACES)}{','.join(inner)}{draw(SPACES)}]"


@st.composite
def objects(
    draw: Any, values: st.SearchStrategy[str], names: st.SearchStrategy[str] = NAMES
) -> str:
    """Draw an object; its names may well stand twice."""
    members = [
        f"{draw(names)}{draw(SPACES)}:{draw(SPACES)}{draw(values)}"
        for _ in range(draw(st.integers(0, 4)))
    ]
    return f"{{{draw(SPACES)}{','.join(members)}{draw(SPACES)}}}"


VALUES = st.recursive(LEAVES, lambda inner: st.one_of(lists(inner), objects(inner)), max_leaves=8)
FIELDS = objects(VALUES)
HEADS = st.one_of(VALUES, st.sampled_from(['"1"', '"x"', "1", "null"]))
ROW_TEXTS = st.one_of(
    FIELDS, FIELDS.map(lambda row: '{"id": "1", ' + row[1:] if row != "{}" else row)
)


def raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def verdict(parse_body: Callable[[], PushRequest]) -> Any:
    """Return what the fast parser makes of a body."""
    try:
        request = parse_body()
    except LimitExceeded:
        return TooManyRows
    except BodyMalformed:
        return Refused
    mutations = [
        (each.op, each.id, each.base_version, each.group, each.data) for each in request.mutations
    ]
    return request.policy, request.validate_only, mutations


def slow_verdict(parse_body: Callable[[], Any]) -> Any:
    """Return what the slow parser makes of it."""
    try:
        return parse_body()
    except Refused as refused:
        return type(refused)


@settings(max_examples=300)
@given(VALUES)
@example(r'{"a\\":"\\","b":"\\\"","b":"\""}')
@example(r'{"x\\":1,"y\\":1,"b":1,"b":2}')
@example('{"a" :1,"b":":","b":1}')
def test_any_json_is_taken_exactly_when_the_slow_parser_takes_it(data: str) -> None:
    """The quick searches must never overlook anything, nor see what is not there."""
    body = push_of(raw(data))

    assert verdict(lambda: parse(body)) == slow_verdict(lambda: slow_push(body))


@settings(max_examples=150)
@given(
    objects(
        st.one_of(VALUES, st.lists(objects(HEADS, st.sampled_from(
            ['"op"', '"collection"', '"id"', '"base_version"', '"group"', '"data"', '"x"']
        )), max_size=3).map(lambda items: "[" + ",".join(items) + "]"), st.sampled_from(['"per_row"', "true"])),
        st.sampled_from(['"mutations"', '"policy"', '"validate_only"', '"x"']),
    )
)  # fmt: skip
def test_any_push_is_taken_exactly_when_the_slow_parser_takes_it(text: str) -> None:
    """Members that are missing, null, unknown or there twice, around the data too."""
    body = raw(text)

    assert verdict(lambda: parse(body)) == slow_verdict(lambda: slow_push(body))


@settings(max_examples=150)
@given(st.one_of(lists(ROW_TEXTS), VALUES), st.sampled_from(Op))
def test_any_list_of_rows_is_taken_exactly_when_the_slow_parser_takes_it(
    text: str, op: Op
) -> None:
    """Fields and head stand in one object there."""
    body = raw(text)

    def slow() -> Any:
        return Policy.ALL_OR_NOTHING, False, slow_rows(body, op)

    assert verdict(lambda: parse_list(body, op)) == slow_verdict(slow)


VALID = json.dumps(
    {
        "policy": "per_row",
        "mutations": [
            {
                "op": "create",
                "collection": "n",
                "id": "1",
                "data": {"a": 'x"\\\né', "b": [1.5, {}]},
            },
            {"op": "update", "collection": "n", "id": "2", "base_version": 3, "group": "g"},
        ],
    }
).encode()


@settings(max_examples=300)
@given(
    st.one_of(
        st.binary(max_size=40),
        st.lists(
            st.tuples(st.integers(0, len(VALID)), st.integers(0, 3), st.binary(max_size=3)),
            min_size=1,
            max_size=3,
        ),
    )
)
def test_no_bytes_are_anything_worse_than_refused(change: Any) -> None:
    """Never a 500 for what a client sent; and what is still taken, is taken rightly."""
    body = change
    if isinstance(change, list):
        body = VALID
        for start, removed, added in change:
            body = body[:start] + added + body[start + removed :]

    assert verdict(lambda: parse(body)) == slow_verdict(lambda: slow_push(body))
    for op in Op:
        verdict(lambda op=op: parse_list(body, op))  # type: ignore[misc]
