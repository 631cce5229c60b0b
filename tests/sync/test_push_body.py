"""Push bodies: what is taken, what is refused and in which words, and that both are exact."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from sync import json_faults
from sync.errors import BodyMalformed, LimitExceeded
from sync.push_body import PushRequest, parse_push, parse_rows
from sync.types import Mutation, Op, Policy
from tests.sync.slow_parser import DEPTH_MAX, ROWS_MAX

NUL, TOO_LONG = "text must not contain NUL characters.", "integers have at most 64 bits."
TOO_DEEP, TOO_LARGE = "the JSON is nested too deeply.", "the number is too large."
HALF = "text must not contain half of a surrogate pair."


def parse(body: bytes) -> PushRequest:
    return parse_push(body, rows_max=ROWS_MAX, depth_max=DEPTH_MAX)


def parse_list(body: bytes, op: Op) -> PushRequest:
    return parse_rows(body, op=op, collection="notes", rows_max=ROWS_MAX, depth_max=DEPTH_MAX)


def push_of(data: bytes) -> bytes:
    """Return a push of one create with these bytes as its data."""
    return b'{"mutations":[{"op":"create","collection":"notes","id":"1","data":' + data + b"}]}"


def twice(name: str) -> str:
    return f"an object has two members of the name {name!r}."


# --- what is taken -------------------------------------------------------------------------


def test_push_is_read_as_it_was_meant() -> None:
    """Every member in its place; what was not sent has its default."""
    row_id = "0199A3F0-0000-7000-8000-00000000000A"
    body = {
        "policy": "per_row",
        "validate_only": True,
        "mutations": [
            {"op": "create", "collection": "notes", "id": row_id, "data": {"text": "a"}},
            {"op": "update", "collection": "notes", "id": "2", "base_version": 3, "group": "g"},
            {"op": "delete", "collection": "notes", "id": "3", "base_version": None, "data": {"a": 1}},
        ],
    }  # fmt: skip

    request = parse(json.dumps(body).encode())

    assert (request.policy, request.validate_only) == (Policy.PER_ROW, True)
    assert request.mutations == [
        Mutation(index=0, op=Op.CREATE, collection="notes", id=row_id.lower(), data={"text": "a"}),
        Mutation(index=1, op=Op.UPDATE, collection="notes", id="2", base_version=3, group="g"),
        Mutation(index=2, op=Op.DELETE, collection="notes", id="3"),
    ]


def test_push_falls_whole_unless_it_says_otherwise() -> None:
    """The safe default: nobody gets half a batch unasked."""
    request = parse(b'{"mutations": []}')

    assert (request.policy, request.validate_only) == (Policy.ALL_OR_NOTHING, False)


@pytest.mark.parametrize(
    ("op", "row", "base_version", "data"),
    [
        (Op.CREATE, {"id": "1", "text": "a"},                     None, {"text": "a"}),
        (Op.CREATE, {"id": "1", "base_version": 2, "op": "x"},    None, {"base_version": 2, "op": "x"}),
        (Op.UPDATE, {"id": "1", "base_version": 2, "text": "a"},  2,    {"text": "a"}),
        (Op.UPDATE, {"id": "1", "group": "g", "collection": "c"}, None, {"group": "g", "collection": "c"}),
        (Op.DELETE, {"id": "1", "base_version": 2},               2,    {}),
        (Op.DELETE, {"id": "1"},                                  None, {}),
    ],
)  # fmt: skip
def test_row_of_a_list_is_a_mutation(
    op: Op, row: dict[str, Any], base_version: int | None, data: dict[str, Any]
) -> None:
    """A field may be called anything, also what is a word of the protocol elsewhere."""
    request = parse_list(json.dumps([row]).encode(), op)

    assert request.mutations == [
        Mutation(index=0, op=op, collection="notes", id="1", base_version=base_version, data=data)
    ]


def test_list_of_rows_takes_its_policy_from_the_address() -> None:
    """The list has no place for it."""
    request = parse_rows(
        b"[]",
        op=Op.CREATE,
        collection="notes",
        policy=Policy.PER_ROW,
        validate_only=True,
        rows_max=ROWS_MAX,
        depth_max=DEPTH_MAX,
    )

    assert request == PushRequest(policy=Policy.PER_ROW, validate_only=True, mutations=[])


CREATE = b'{"op": "create", "collection": "notes", "id": "1"}'
TAKEN: dict[str, bytes] = {
    "largest integer": b'{"a": 9223372036854775807}',
    "smallest integer": b'{"a": -9223372036854775808}',
    "largest float": b'{"a": 1.7976931348623157e308}',
    "tiny float": b'{"a": 1e-400}',
    "a million decimals": b'{"a": 0.' + b"3" * 10**6 + b"}",
    "deepest": b'{"a": [[{"b": 1}]]}',
    "an escape that is escaped": rb'{"a": "\\u0000"}',
    "three backslashes": rb'{"a": "\\\\u0000", "b": "\\\""}',
    "quotes in texts": rb'{"a": "\"", "b": "\":", "c\\": "\\", "d\"": 1}',
    "colons in texts": b'{"a": ":", "b": " :", ":": "::"}',
    "a pair in full": rb'{"a": "\ud83d\udd27"}',
    "white space everywhere": b'\t{\r\n"a" \t: \n[ 1 , "b" ]\r} ',
    "one name in two objects": b'{"a": {"a": [{"a": 1}, {"a": 2}]}}',
    "nothing": b"{}",
}


@pytest.mark.parametrize("case", TAKEN)
def test_data_at_the_edge_is_taken(case: str) -> None:
    """Nothing is refused that a database could keep, and it arrives as it was sent."""
    request = parse(push_of(TAKEN[case]))

    assert request.mutations[0].data == json.loads(TAKEN[case])


# --- what is refused, and in which words ---------------------------------------------------

DATA: dict[str, tuple[bytes, str]] = {
    "NUL":                  (rb'{"a": "\u0000"}',                     f"mutations.0.data.a: {NUL}"),
    "NUL after backslash":  (rb'{"a": "\\\u0000"}',                   f"mutations.0.data.a: {NUL}"),
    "NUL in a name":        (rb'{"a": {"\u0000": 1}}',                f"mutations.0.data.a: {NUL}"),
    "raw NUL":              (b'{"a": ["\0"]}',                        f"mutations.0.data.a.0: {NUL}"),
    "first half":           (rb'{"a": "\ud800"}',                     f"mutations.0.data.a: {HALF}"),
    "second half":          (rb'{"a": ["x", "\udc00"]}',              f"mutations.0.data.a.1: {HALF}"),
    "half in a name":       (rb'{"\ud800": 1}',                       f"mutations.0.data: {HALF}"),
    "NaN":                  (b'{"a": NaN}',                           "mutations.0.data.a: NaN is no number of JSON."),
    "infinity":             (b'{"a": [-Infinity]}',                   "mutations.0.data.a.0: -Infinity is no number of JSON."),
    "overflow":             (b'{"a": 1e999}',                         f"mutations.0.data.a: {TOO_LARGE}"),
    "unsigned 64 bits":     (b'{"a": 18446744073709551615}',          f"mutations.0.data.a: {TOO_LONG}"),
    "one too many":         (b'{"a": {"b": 9223372036854775808}}',    f"mutations.0.data.a.b: {TOO_LONG}"),
    "one too few":          (b'{"a": -9223372036854775809}',          f"mutations.0.data.a: {TOO_LONG}"),
    "100,000 digits":       (b'{"a": ' + b"9" * 10**5 + b"}",         f"mutations.0.data.a: {TOO_LONG}"),
    "too deep":             (b'{"a": [[[[]]]]}',                      f"mutations.0.data.a.0.0.0: {TOO_DEEP}"),
    "too deep, an object":  (b'{"a": {"b": {"c": {"d": {}}}}}',       f"mutations.0.data.a.b.c.d: {TOO_DEEP}"),
    "much too deep":        (b'{"a": ' + b"[" * 50_000,               "The JSON is nested too deeply."),
    "twin":                 (b'{"a": 1, "a": 1}',                     f"mutations.0.data: {twice('a')}"),
    "twin in other letters": (rb'{"a": 1, "\u0061": 1}',              f"mutations.0.data: {twice('a')}"),
    "twin far below":       (b'{"a": [1, {"b": {"c": 1, "c": 2}}]}',  f"mutations.0.data.a.1.b: {twice('c')}"),
    "twin among spaces":    (b'{"a" : 1, "b" : ":", "a"\n:":"}',      f"mutations.0.data: {twice('a')}"),
    "twin among quotes":    (rb'{"a": "\":", "a": "\\", "\\": "\""}', f"mutations.0.data: {twice('a')}"),
    "twin behind backslashes": (rb'{"x\\": 1, "y\\": 1, "a": 1, "a": 2}', f"mutations.0.data: {twice('a')}"),
    "twin of a long number": (b'{"a": ' + b"9" * 400 + b', "a": 1}',  f"mutations.0.data: {twice('a')}"),
    "not UTF-8":            (b'{"a": "\xff"}',                        "The body is not UTF-8 (byte 73)."),
    "a raw surrogate":      (b'{"a": "\xed\xa0\x80"}',                "The body is not UTF-8 (byte 73)."),
    "raw control":          (b'{"a": "\1"}',                          "JSON is malformed: invalid character (byte 73)"),
    "a list":               (b"[]",                                   "mutations.0.data: Expected `object`, got `array`"),
    "null":                 (b"null",                                 "mutations.0.data: Expected `object`, got `null`"),
}  # fmt: skip
WHOLE: dict[str, tuple[bytes, str]] = {
    "byte order mark":   (b'\xef\xbb\xbf{"mutations": []}', "The body begins with a byte order mark; send plain UTF-8."),
    "UTF-16":            ('{"mutations": []}'.encode("utf-16"), "The body is not UTF-8 (byte 0)."),
    "twin":              (b'{"mutations": [], "mutations": []}', f"A{twice('mutations')[1:]}"),
    "twin policy":       (b'{"policy": "per_row", "mutations": [], "policy": "all_or_nothing"}', f"A{twice('policy')[1:]}"),
    "twin in a mutation": (b'{"mutations": [{"op": "delete", "collection": "c", "id": "1", "id": "2"}]}', f"mutations.0: {twice('id')}"),
    "twin null":         (b'{"mutations": [{"op": "delete", "collection": "c", "id": "1", "group": null, "group": "g"}]}', f"mutations.0: {twice('group')}"),
    "NUL in an id":      (rb'{"mutations": [{"op": "delete", "collection": "c", "id": "\u0000"}]}', f"mutations.0.id: {NUL}"),
    "NUL in a group":    (rb'{"mutations": [{"op": "delete", "collection": "c", "id": "1", "group": "\u0000"}]}', f"mutations.0.group: {NUL}"),
    "half in an id":     (rb'{"mutations": [{"op": "delete", "collection": "c", "id": "\ud800"}]}', f"mutations.0.id: {HALF}"),
    "long id":           (b'{"mutations": [{"op": "delete", "collection": "c", "id": "' + b"x" * 65 + b'"}]}', "mutations.0.id: Expected `str` of length <= 64"),
    "no id":             (b'{"mutations": [{"op": "delete", "collection": "c"}]}', "mutations.0: Object missing required field `id`"),
    "fractional base":   (b'{"mutations": [{"op": "delete", "collection": "c", "id": "1", "base_version": 1.0}]}', "mutations.0.base_version: Expected `int | null`, got `float`"),
    "unknown member":    (b'{"mutations": [{"op": "delete", "collection": "c", "id": "1", "x": 1}]}', "mutations.0: Object contains unknown field `x`"),
    "cut":               (b'{"mutations": [', "Input data was truncated"),
}  # fmt: skip
ROWS: dict[str, tuple[Op, bytes, str]] = {
    "no list":           (Op.CREATE, b"{}",                                 "Expected `array`, got `object`"),
    "no object":         (Op.CREATE, b"[1]",                                "0: Expected `object`, got `int`"),
    "no id":             (Op.CREATE, b'[{"id": "1"}, {"text": "a"}]',       "1: Object missing required field `id`"),
    "id is a number":    (Op.UPDATE, b'[{"id": 1}]',                        "0.id: Expected `str`, got `int`"),
    "empty id":          (Op.UPDATE, b'[{"id": ""}]',                       "0.id: Expected `str` of length >= 1"),
    "base is a text":    (Op.UPDATE, b'[{"id": "1", "base_version": "1"}]', "0.base_version: Expected `int | null`, got `str`"),
    "base is true":      (Op.DELETE, b'[{"id": "1", "base_version": true}]', "0.base_version: Expected `int | null`, got `bool`"),
    "fields to delete":  (Op.DELETE, b'[{"id": "1", "text": "a"}]',         "0.text: a row to be deleted has an id and a base_version."),
    "twin":              (Op.CREATE, b'[{"id": "1", "id": "1"}]',           f"0: {twice('id')}"),
    "NUL":               (Op.CREATE, rb'[{"id": "1", "a": "\u0000"}]',      f"0.a: {NUL}"),
    "too deep":          (Op.CREATE, b'[{"id": "1", "a": [[[[]]]]}]',       f"0.a.0.0.0: {TOO_DEEP}"),
    "long integer":      (Op.CREATE, b'[{"id": "1", "a": 9223372036854775808}]', f"0.a: {TOO_LONG}"),
}  # fmt: skip


@pytest.mark.parametrize("case", DATA)
def test_data_that_cannot_be_kept_is_named_with_its_path(case: str) -> None:
    """Whoever has to mend it finds it."""
    data, detail = DATA[case]

    with pytest.raises(BodyMalformed) as refused:
        parse(push_of(data))

    assert str(refused.value) == detail


@pytest.mark.parametrize("case", WHOLE)
def test_malformed_push_is_named_with_its_path(case: str) -> None:
    """Also around the data: ids and groups go into the database too."""
    body, detail = WHOLE[case]

    with pytest.raises(BodyMalformed) as refused:
        parse(body)

    assert str(refused.value) == detail


@pytest.mark.parametrize("case", ROWS)
def test_malformed_list_of_rows_is_named_with_its_path(case: str) -> None:
    """The same rules, with paths that begin at the row's place in the list."""
    op, body, detail = ROWS[case]

    with pytest.raises(BodyMalformed) as refused:
        parse_list(body, op)

    assert str(refused.value) == detail


LARGE: dict[str, tuple[bytes, str]] = {  # data without its end, to which much is added
    "NUL":          (rb'{"a": "\u0000"',             f"Somewhere: {NUL}"),
    "long integer": (b'{"a": 9223372036854775808',   f"Somewhere: {TOO_LONG}"),
    "too deep":     (b'{"a": [[[[]]]]',              f"Somewhere: {TOO_DEEP}"),
    "twin":         (b'{"a": 1, "a": 2',             f"A{twice('a')[1:]}"),
    "half":         (rb'{"a": "\udc00"',             "JSON is malformed: invalid utf-16 surrogate pair (byte 79)"),
    "NaN":          (b'{"a": NaN',                   "JSON is malformed: invalid character (byte 72)"),
    "a million digits": (b'{"a": ' + b"9" * 10**6,   "mutations.0.data.*: Integer value out of range"),
}  # fmt: skip


@pytest.mark.parametrize("case", LARGE)
def test_fault_in_a_large_body_is_refused_with_fewer_words(case: str) -> None:
    """To say where it is would mean to read a body of any size once more."""
    data, detail = LARGE[case]
    body = push_of(data + b', "z": "' + b"x" * json_faults.EXPLAINED_BYTES_MAX + b'"}')

    with pytest.raises(BodyMalformed) as refused:
        parse(body)

    assert str(refused.value) == detail


@pytest.mark.parametrize(
    "refused",
    [
        lambda rows: parse(b'{"mutations": [' + b", ".join([CREATE] * rows) + b"]}"),
        lambda rows: parse_list(b"[" + b", ".join([b'{"id": "1"}'] * rows) + b"]", Op.CREATE),
    ],
    ids=["push", "rows"],
)
def test_too_many_rows_are_refused_with_the_limit(refused: Callable[[int], PushRequest]) -> None:
    """The client learns what to halve to; the limit itself is allowed."""
    assert len(refused(ROWS_MAX).mutations) == ROWS_MAX
    with pytest.raises(LimitExceeded) as error:
        refused(ROWS_MAX + 1)

    assert error.value.members == {"limit": "push_rows_max", "maximum": ROWS_MAX}


# --- cost ----------------------------------------------------------------------------------


def calls_to_the_slow_parser(body: bytes) -> int:
    """Return how often the standard library's JSON parser is called for `body`."""
    calls = 0

    def profile(frame: FrameType, event: str, _: Any) -> None:
        nonlocal calls
        calls += event == "call" and frame.f_code is json.loads.__code__

    sys.setprofile(profile)
    try:
        parse(body)
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize(
    "style", [{}, {"indent": 1}, {"separators": (",", ":")}, {"separators": (" , ", " : ")}]
)
def test_body_of_a_field_worker_is_read_once(style: dict[str, Any]) -> None:
    """However it is laid out, and whatever punctuation its texts have: twins cost no second look."""
    texts = ['he said: "no": leave', "12:30 : tea", 'line\nline\t"', "C:/", ":", "größer: 5 µm"]
    data = {"a": texts, "b": [{"c": 1, "d": None, "e": True, "f": 1.5}], "g": {}, "h": []}
    mutations = [{"op": "create", "collection": "n", "id": "1", "group": None, "data": data}]
    body = json.dumps({"mutations": mutations, "policy": "per_row"}, **style).encode()

    assert calls_to_the_slow_parser(body) == 0
