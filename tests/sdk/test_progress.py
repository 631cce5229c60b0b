"""Progress: an app is told how far a sync is, often enough for a bar and no oftener."""

from __future__ import annotations

from typing import Any

import pytest
from phone import Phone

from fieldsync import Progress, State
from fieldsync.engine.report import Meter
from fieldsync.testing import FakeServer


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def said(told: list[Progress]) -> list[tuple[str, int, int | None]]:
    return [(str(each.phase), each.done, each.total) for each in told]


def test_meter_tells_a_few_times_a_second_and_the_last_word_always() -> None:
    """Thousands of pages must not mean thousands of redraws; a bar must come to its end."""
    told: list[Progress] = []
    clock = Clock()
    meter = Meter(told.append, clock=clock)
    for done in range(5):
        meter.note(State.PUSHING, done, 4)
    clock.now += 0.3
    meter.note(State.PULLING, 0)
    meter.note(State.PULLING, 10)
    clock.now += 0.3
    meter.note(State.PULLING, 20)
    meter.note(State.PULLING, 30)
    meter.flush()

    assert said(told) == [
        ("pushing", 0, 4),
        ("pushing", 4, 4),
        ("pulling", 0, None),
        ("pulling", 20, None),
        ("pulling", 30, None),
    ]


@pytest.mark.parametrize("rows", [0, 250])
def test_sync_tells_how_far_it_is(
    server: FakeServer, phone: Phone, second: Phone, rows: int
) -> None:
    """Each phase begins at nothing and ends with what it came to."""
    for _ in range(rows):
        phone["work_orders"].create({"title": "x"})
    told: list[Progress] = []

    phone.client.sync(progress=told.append)

    found = said(told)
    assert found[0] == ("pushing", 0, rows)
    assert ("pushing", rows, rows) in found
    assert ("pulling", rows, None) in found
    assert found.index(("pushing", rows, rows)) < found.index(("pulling", 0, None))


def test_repair_tells_of_its_buckets(server: FakeServer, phone: Phone) -> None:
    for _ in range(3):
        phone["work_orders"].create({"title": "x"})
    phone.sync()
    phone.client._engine._store.writer.execute("UPDATE replica SET data = '{}'")
    told: list[Any] = []

    phone.client.verify(progress=told.append)

    checking = [each for each in said(told) if each[0] == "checking"]
    assert checking[0][1] == 0
    assert checking[-1][1] == checking[-1][2]
