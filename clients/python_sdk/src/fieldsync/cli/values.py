"""Values: what is typed as `field=value`, and rows given as JSON."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

STDIN = "-"


def parse_fields(words: Iterable[str]) -> dict[str, Any]:
    """The fields of `words` such as `title=Pump` and `priority=1`.

    A value that is JSON is taken as such, all else as text; so `code='"17"'` is a text.

    Raises: ValueError for a word without `=`, or a field that comes twice.
    """
    fields: dict[str, Any] = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not (name and sign):
            raise ValueError(f"{word!r} is not of the form field=value")
        if name in fields:
            raise ValueError(f"the field {name} is given twice")
        fields[name] = parse_value(value)
    return fields


def parse_value(text: str) -> Any:
    """`text` as JSON, or as it stands."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def read_object(source: str) -> dict[str, Any]:
    """The JSON object in a file, or in standard input for `-`.

    Raises: ValueError when it is none; OSError.
    """
    content = sys.stdin.buffer.read() if source == STDIN else Path(source).read_bytes()
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"no JSON object: {error}") from error
