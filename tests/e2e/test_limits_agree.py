"""The SDK refuses, to whoever gives it, exactly what the server's parser would refuse a batch for."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import example, given, settings, strategies as st

from fieldsync import wire as phone_side
from sync import json_faults
from sync.conf import SyncSettings
from sync.errors import BodyMalformed
from sync.push_body import parse_push
from sync.types import Op

LIMITS = SyncSettings()

TEXTS = st.text(st.sampled_from('a\0é\U0001f527\ud800\udc00"\\:'), max_size=4)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    TEXTS,
    st.floats(),
    st.integers(-(2**65), 2**65),
    st.sampled_from([2**63 - 1, 2**63, -(2**63), -(2**63) - 1, math.inf, math.nan]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(TEXTS, inner, max_size=3),
        st.tuples(inner, st.integers(0, LIMITS.json_depth_max + 1)).map(
            lambda pair: nested(*pair)
        ),
    ),
    max_leaves=6,
)


def nested(value: Any, levels: int) -> Any:
    """Return `value` inside so many lists."""
    for _ in range(levels):
        value = [value]
    return value


def is_taken(body: bytes) -> bool:
    """Whether the server's parser takes a push."""
    try:
        parse_push(body, rows_max=LIMITS.push_rows_max, depth_max=LIMITS.json_depth_max)
    except BodyMalformed:
        return False
    return True


def push_of(**members: Any) -> bytes:
    """Return a push as somebody writes it who checks nothing."""
    mutation = {"op": "create", "collection": "notes", "id": "1", **members}
    text = json.dumps({"mutations": [mutation]}, ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")  # as escapes, two halves would make a pair


@settings(max_examples=400)
@given(st.dictionaries(TEXTS, VALUES, max_size=3))
@example({"a": nested("x", LIMITS.json_depth_max - 1)})
@example({"a": nested("x", LIMITS.json_depth_max)})
def test_value_is_sendable_exactly_when_the_server_takes_it(data: dict[str, Any]) -> None:
    """Too little, and a batch waits for ever; too much, and work is refused that could be done."""
    try:
        normal = phone_side.normalize(data)
    except ValueError:
        assert not is_taken(push_of(data=data))
        return
    mutation = phone_side.Mutation(
        op=phone_side.Op.CREATE, collection="notes", id="1", data=normal, group="g"
    )
    body = phone_side.render_push([mutation])

    (found,) = parse_push(
        body, rows_max=LIMITS.push_rows_max, depth_max=LIMITS.json_depth_max
    ).mutations
    assert (found.op, found.data) == (Op.CREATE, normal)
    assert is_taken(push_of(data=data))


@pytest.mark.parametrize("member", ["id", "collection", "group"])
@given(st.one_of(TEXTS, st.integers(0, 70).map("é".__mul__)))
def test_name_is_sendable_exactly_when_the_server_takes_it(member: str, name: str) -> None:
    """Ids, collections and groups stand in the same body."""
    is_sendable = phone_side.find_unsendable_name(name) is None

    assert is_sendable is is_taken(push_of(**{member: name}))


def test_limits_are_the_same_numbers() -> None:
    """Two packages that may not import each other."""
    assert LIMITS.json_depth_max == phone_side.JSON_DEPTH_MAX
    assert phone_side.INTEGER_MIN == json_faults.INTEGER_MIN
    assert phone_side.INTEGER_MAX == json_faults.INTEGER_MAX
