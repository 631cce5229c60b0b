"""Clocks of phones are days or years off, and jump: nothing depends on them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

TODAY = datetime(2026, 11, 27, 8, 0, tzinfo=UTC)
RIGHT = timedelta()
CLOCKS = {
    "a year behind": [timedelta(days=-365)],
    "fifty years behind": [timedelta(days=-18_000)],
    "sixty years ahead": [timedelta(days=22_000)],
    "running backwards": [timedelta(days=-at) for at in range(60)],
    "jumping back": [timedelta(days=300), timedelta(days=-300)],
    "jumping at every look": [timedelta(days=n * (-1) ** n) for n in range(60)],
}


def live_a_day(new_phone: Any, off: list[timedelta]) -> tuple[Any, ...]:
    """Two phones edit one order in turns, the first by a clock that is off; what comes of it."""
    looks = iter([*off * 200])
    one = new_phone(now=lambda: TODAY + next(looks, RIGHT))
    other = new_phone(now=lambda: TODAY)
    ids = [one["work_orders"].create({"title": str(n)}) for n in range(3)]
    one.sync()
    other.sync()
    other["work_orders"].update(ids[0], {"title": "theirs"})
    one["work_orders"].update(ids[0], {"title": "mine", "note": "later, by my clock"})
    one["work_orders"].update(ids[1], {"note": "only mine"})
    other["work_orders"].delete(ids[2])
    other.sync()
    one.sync()
    other.sync()
    rows = [server_row(one, row_id) for row_id in ids]
    in_order = sorted(ids, key=lambda row_id: server_number(one, row_id))
    assert one.view("work_orders") == other.view("work_orders")
    issues = [(issue.outcome, issue.fields, issue.mine) for issue in one.client.issues()]
    return rows, issues, [ids.index(row_id) for row_id in in_order]


def server_number(phone: Any, row_id: str) -> int:
    """The server's own count of the rows that it was given."""
    return next(at for at, (*_, applied) in enumerate(phone.server.applied) if applied == row_id)


def server_row(phone: Any, row_id: str) -> Any:
    row = phone.server.state.rows["work_orders", row_id]
    return row.version, row.is_deleted, {k: v for k, v in row.data.items() if k != "number"}


@pytest.mark.parametrize("clock", CLOCKS)
def test_day_by_a_wrong_clock_ends_as_by_a_right_one(new_phone: Any, clock: str) -> None:
    """Scenario 16: order, conflicts and ids are the same; only the header tells of the clock."""
    by_the_right = live_a_day(new_phone, [RIGHT])

    assert live_a_day(new_phone, CLOCKS[clock]) == by_the_right


def test_phone_says_what_time_it_takes_it_to_be(server: Any, new_phone: Any) -> None:
    """Scenario 16: the server measures the skew by it; it is for nothing else."""
    phone = new_phone(now=lambda: TODAY + timedelta(days=22_000))

    phone.sync()

    assert {seen[3]["x-client-time"] for seen in server.seen} == {"2087-02-20T08:00:00Z"}
