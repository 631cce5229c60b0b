"""The API's versions, each with what it changed since the one before; docs/versions.md says more.

v2   a work order's `title` is called `summary`; its `assignee` is an object, with room for more
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from sync.api.versions import Field, Step


def open_reference(value: Any) -> Any:
    """Return an id as an object."""
    return None if value is None else {"id": value}


def close_reference(value: Any) -> Any:
    """Return the id that an object holds; what is none becomes nothing that could be an id."""
    if value is None:
        return None
    if isinstance(value, dict) and value.keys() == {"id"} and isinstance(value["id"], str):
        return value["id"]
    return [value]


def shape_reference(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a reference for that of an id, which may be null."""
    return {"oneOf": [REFERENCE, {"type": "null"}]} if "null" in schema["type"] else REFERENCE


REFERENCE: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"id": {"type": "string", "format": "uuid"}},
    "required": ["id"],
    "additionalProperties": False,
}
FIRST: Final = "v1"
CURRENT: Final = "v2"
# The first is how rows are stored, and changes nothing.
CHAIN: Final[dict[str, tuple[Step, ...]]] = {
    FIRST: (),
    CURRENT: (
        Step(
            collection="work_orders",
            known_by="assignee",
            fields={
                "title": Field(name="summary"),
                "assignee": Field(
                    name="assignee",
                    up=open_reference,
                    down=close_reference,
                    shape=shape_reference,
                ),
            },
        ),
    ),
}

# When a version was called old, and the day until which it is answered.
DEPRECATED: Final = {FIRST: dt.datetime(2026, 12, 1, tzinfo=dt.UTC)}
SUNSET: Final = {FIRST: dt.datetime(2029, 1, 1, tzinfo=dt.UTC)}
