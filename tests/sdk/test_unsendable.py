"""Values that would spoil a whole push are refused at once, to whoever gave them.

The server answers 400 to the whole body, at every try: a batch that holds one never leaves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

import fieldsync
from fieldsync.wire import JSON_DEPTH_MAX, NAME_LENGTH_MAX

DEPTH_LEFT = JSON_DEPTH_MAX - 1  # below the row's own object


@dataclass
class Reading:
    """An app's own type, as msgspec writes it."""

    value: float


def nested(levels: int) -> list[Any]:
    """Return a list with as many levels, itself included."""
    inner: list[Any] = []
    for _ in range(levels - 1):
        inner = [inner]
    return inner


def endless() -> list[Any]:
    """Return a list that contains itself."""
    loop: list[Any] = []
    loop.append(loop)
    return loop


UNSENDABLE: dict[str, Any] = {
    "NUL": "a\0b",
    "NUL in a name": {"a\0b": 1},
    "half of a surrogate pair": "\ud800",
    "half of a pair in a name": {"\udc00": 1},
    "integer beyond 64 bits": 2**63,
    "negative integer beyond 64 bits": -(2**63) - 1,
    "integer of very many digits": 10**5_000,
    "NaN": math.nan,
    "infinity": -math.inf,
    "overflow": float("1e999"),
    "NaN in a tuple": (1, (math.nan,)),
    "NaN in a set": {math.nan},
    "NaN in a type of the app": Reading(value=math.nan),
    "too deep": nested(DEPTH_LEFT + 1),
    "endless": endless(),
    "no value of JSON": object(),
}
SENDABLE: dict[str, tuple[Any, Any]] = {
    "largest integer": (2**63 - 1, 2**63 - 1),
    "smallest integer": (-(2**63), -(2**63)),
    "largest float": (1.7976931348623157e308, 1.7976931348623157e308),
    "a pair in full": ("\U0001f527", "\U0001f527"),
    "deepest": (nested(DEPTH_LEFT), nested(DEPTH_LEFT)),
    "decimal": (Decimal("1.50"), "1.50"),
    "tuple": ((1, 2), [1, 2]),
    "type of the app": (Reading(value=1.5), {"value": 1.5}),
}


@pytest.mark.parametrize("case", UNSENDABLE)
def test_value_that_would_spoil_a_whole_push_is_refused_at_once(phone: Any, case: str) -> None:
    """The person who typed it is still there to change it; above all no null is sent instead."""
    with pytest.raises(fieldsync.UnsendableValue):
        phone["work_orders"].create({"title": UNSENDABLE[case]})

    assert phone.client.status().pending == 0


@pytest.mark.parametrize("case", SENDABLE)
def test_value_at_the_edge_is_sent(server: Any, phone: Any, case: str) -> None:
    """The phone refuses nothing that the server takes."""
    given, kept = SENDABLE[case]
    row_id = phone["work_orders"].create({"title": given})
    phone.sync()

    assert server.live("work_orders")[row_id]["title"] == kept


@pytest.mark.parametrize("name", ["", "x" * (NAME_LENGTH_MAX + 1), "a\0b", "\ud800"])
def test_name_that_cannot_be_sent_is_refused_at_once(phone: Any, name: str) -> None:
    """Names of groups, collections and rows stand in the same body."""
    with pytest.raises(ValueError, match=r"\S"), phone.client.group(name):
        pytest.fail("the group was entered")
    with pytest.raises(fieldsync.UnsendableValue):
        phone[name].create({"title": "Pump"})
    if name:  # else one is made
        with pytest.raises(fieldsync.UnsendableValue):
            phone["work_orders"].create({"title": "Pump"}, id=name)

    assert phone.client.status().pending == 0


def test_unsendable_decision_leaves_the_issue_open(server: Any, phone: Any) -> None:
    """The values of `resolve` are checked like any others, and nothing is lost over them."""
    row_id = phone["inspections"].create({"status": "open"})
    phone.sync()
    server.edit("inspections", row_id, status="reviewed")
    phone["inspections"].update(row_id, {"status": "done"})
    phone.sync()
    (issue,) = phone.client.issues()

    with pytest.raises(fieldsync.UnsendableValue):
        issue.resolve(keep={"status": math.nan})

    assert [each.id for each in phone.client.issues()] == [issue.id]
    assert phone.client.status().pending == 0
