"""What JSON can say and a database cannot keep, and where in a body it stands. Pure.

    body of JSON         --has_nul, refuse_twins-->  the verdict, exact and linear
    refused body         --explain-->                "mutations.3.data.text: text must not …"
    body that is no JSON --describe-->               the same, or the byte where it ends to be JSON

An explanation is slow, and so it is for bodies that are refused already, up to a size.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import math
import re
from collections.abc import Callable
from typing import Any

from sync.errors import BodyMalformed

INTEGER_MIN, INTEGER_MAX = -(2**63), 2**63 - 1  # beyond, other parsers lose digits in silence
EXPLAINED_BYTES_MAX = 1024 * 1024  # half a second at the worst; beyond, less is said
_INTEGER_CHARS_MAX = 20  # nobody converts a million digits to learn that they are too many
_NAME_CHARS_SHOWN = 64

TOO_DEEP = "the JSON is nested too deeply."
TOO_LONG = "integers have at most 64 bits."
NUL = "text must not contain NUL characters."
_TOO_LARGE = "the number is too large."
_SURROGATE = "text must not contain half of a surrogate pair."

_Members = list[tuple[str, Any]]
_NUL_ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")  # its backslash is not escaped itself
_SHAPE_ERROR = re.compile(r"(?P<reason>.*) - at `\$(?P<path>.*)`", re.DOTALL)


class _Fault:
    """Stands in a parsed value where nothing else could."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


class _TwinFound(Exception):
    """An object has two members of one name."""


def has_nul(body: bytes) -> bool:
    """Whether a text in a body of JSON has a NUL character: it can only come as its escape."""
    # Each search is several times faster than the next, and nearly always the last one needed.
    return b"\\" in body and b"\\u0000" in body and _NUL_ESCAPE.search(body) is not None


def refuse_twins(body: bytes, depth_max: int) -> None:
    """Refuse a body, known to be JSON, in which an object names one of its members twice.

    Which of the two counts is each parser's own choice: one checks the first, and another one
    stores the second.

    Raises:
        BodyMalformed: it does.
    """
    try:
        _parse(body.decode(), _forget_members)
    except _TwinFound as twin:
        raise BodyMalformed(explain(body, depth_max, _say(str(twin)))) from None


def explain(body: bytes, depth_max: int, otherwise: str) -> str:
    """Return what of a refused body cannot be kept, with its path; `otherwise` when unable to.

    `depth_max` is how many levels of objects and lists there may be, the body itself included.
    """
    found = None
    if len(body) <= EXPLAINED_BYTES_MAX:
        with contextlib.suppress(ValueError, RecursionError):  # it is no JSON at all
            found = _find(_parse(body.decode(), _keep_members), depth_max)
    if found is None:
        return otherwise
    path, reason = found
    return _say(reason, ".".join(reversed(path)))


def describe(body: bytes, error: Exception, depth_max: int) -> str:
    """Return why `body` did not decode: by the path of the place, or by its byte."""
    if isinstance(error, RecursionError):
        return _say(TOO_DEEP)
    if body.startswith(codecs.BOM_UTF8):
        return "The body begins with a byte order mark; send plain UTF-8."
    try:
        body.decode()
    except UnicodeDecodeError as wrong:
        return f"The body is not UTF-8 (byte {wrong.start})."
    return explain(body, depth_max, describe_shape(error))


def describe_shape(error: Exception, path: str = "") -> str:
    """Return what msgspec says of a value that is not as it was asked for, below `path`."""
    found = _SHAPE_ERROR.fullmatch(str(error))
    if found is None:
        return _say(str(error), path)
    inner = found["path"].replace("[...]", ".*").replace("[", ".").replace("]", "")
    return _say(found["reason"], f"{path}{inner}".lstrip("."))


def _say(reason: str, path: str = "") -> str:
    return f"{path}: {reason}" if path else reason[:1].upper() + reason[1:]


def _find(value: Any, depth_left: int) -> tuple[list[str], str] | None:
    """Return the path of the first fault, its last name first, and what it is."""
    if not isinstance(value, dict | list):
        reason = _judge(value)
        return None if reason is None else ([], reason)
    if depth_left == 0:
        return [], TOO_DEEP
    for name, member in value.items() if isinstance(value, dict) else enumerate(value):
        found = _find(name, 1)  # a name in a list is a number, and all right
        if found is not None:
            return found
        found = _find(member, depth_left - 1)
        if found is not None:
            found[0].append(str(name)[:_NAME_CHARS_SHOWN])
            return found
    return None


def _judge(value: object) -> str | None:
    """Return what is wrong with a value that has no parts."""
    match value:
        case str():
            return _judge_text(value)
        case int() if not INTEGER_MIN <= value <= INTEGER_MAX:
            return TOO_LONG
        case float() if math.isinf(value):
            return _TOO_LARGE
        case _Fault():
            return value.reason
        case _:
            return None


def _judge_text(text: str) -> str | None:
    if "\0" in text:
        return NUL
    try:
        text.encode()
    except UnicodeEncodeError:
        return _SURROGATE
    return None


def _parse(text: str, hook: Callable[[_Members], Any]) -> Any:
    return json.loads(
        text,
        strict=False,  # a raw control character is for the strict parser to name
        object_pairs_hook=hook,
        parse_int=_parse_integer,
        parse_constant=lambda name: _Fault(f"{name} is no number of JSON."),
    )


def _parse_integer(digits: str) -> int | _Fault:
    return int(digits) if len(digits) <= _INTEGER_CHARS_MAX else _Fault(TOO_LONG)


def _forget_members(members: _Members) -> None:
    """Look, and keep nothing: the body is in memory as it was decoded already."""
    if len(dict(members)) != len(members):
        raise _TwinFound(_describe_twin(members))


def _keep_members(members: _Members) -> dict[str, Any] | _Fault:
    kept = dict(members)
    return kept if len(kept) == len(members) else _Fault(_describe_twin(members))


def _describe_twin(members: _Members) -> str:
    seen: set[str] = set()
    for name, _ in members:
        if name in seen:
            return f"an object has two members of the name {name[:_NAME_CHARS_SHOWN]!r}."
        seen.add(name)
    raise AssertionError("no two members have one name")
