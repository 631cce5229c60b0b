"""Listeners: an app's screens hear which rows changed, and why."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import fieldsync
from fieldsync.engine.pull import PAGE_ROWS_MAX
from fieldsync.testing import Fault

WAIT_S = 20.0  # a bound, never reached


@pytest.fixture
def heard(phone: Any) -> list[tuple[str, dict[str, set[str]]]]:
    """All that a listener of the whole client is told."""
    events: list[Any] = []
    phone.client.on_change(
        lambda change: events.append((str(change.by), {k: set(v) for k, v in change.rows.items()}))
    )
    return events


def test_listener_hears_of_each_step_of_an_edit(server: Any, phone: Any, heard: Any) -> None:
    """Made here, taken by the server, and seen in a pull."""
    phone["work_orders"].create({"title": "x"}, id="w1")
    phone.push()
    phone.pull()

    row = {"work_orders": {"w1"}}
    assert heard == [("edit", row), ("ack", row), ("pull", row)]


def test_listener_hears_what_others_did(server: Any, phone: Any, second: Any, heard: Any) -> None:
    """Also what they deleted."""
    second["work_orders"].create({"title": "x"}, id="w1")
    second["notes"].create({"text": "y", "work_order": "w1"}, id="n1")
    second.sync()
    phone.pull()
    server.delete("notes", "n1")
    phone.pull()

    assert heard == [
        ("pull", {"work_orders": {"w1"}, "notes": {"n1"}}),
        ("pull", {"notes": {"n1"}}),
    ]


def test_refused_rows_are_told_apart_from_those_that_were_taken(phone: Any, heard: Any) -> None:
    """One answer, two kinds of news; settling the issue is news as well."""
    phone["work_orders"].create({"title": "BAD"}, id="bad")
    phone["work_orders"].create({"title": "good"}, id="good")
    heard.clear()

    phone.push()
    phone.client.issues()[0].discard()

    assert sorted(heard[:2]) == [
        ("ack", {"work_orders": {"good"}}),
        ("issue", {"work_orders": {"bad"}}),
    ]
    assert heard[2:] == [("issue", {"work_orders": {"bad"}})]


def test_first_sync_tells_in_one_event_a_page(phone: Any, second: Any, heard: Any) -> None:
    """50,000 calls would be a screen that stands still."""
    for at in range(PAGE_ROWS_MAX + 5):
        second["sites"].create({"name": "x"}, id=f"s{at:04}")
    second.push()

    phone.pull()

    assert [len(rows["sites"]) for _, rows in heard] == [PAGE_ROWS_MAX, 5]


def test_collection_hears_of_its_own_rows_only(phone: Any) -> None:
    """A list of orders is not drawn anew for a note."""
    seen: list[Any] = []
    phone["notes"].on_change(seen.append)

    phone["work_orders"].create({"title": "x"}, id="w1")
    phone["notes"].create({"text": "y"}, id="n1")

    assert [(change.by, change.rows) for change in seen] == [("edit", {"notes": {"n1"}})]


def create_twice(phone: Any) -> None:
    for _ in range(2):
        phone["work_orders"].create({"title": "x"}, id="w1")


def test_listener_hears_nothing_of_what_came_to_nothing(phone: Any, heard: Any) -> None:
    """A transaction that was rolled back, and what only looked."""
    with pytest.raises(ValueError, match="cannot be sent"):
        phone["work_orders"].create({"title": "\0"})
    with pytest.raises(fieldsync.RowExists), phone.client._engine._store.transaction():
        create_twice(phone)
    phone["work_orders"].all()
    phone.sync()

    assert heard == []


def test_change_is_on_the_disk_and_nothing_is_locked_when_listeners_hear(phone: Any) -> None:
    """They may read and edit, here and in other threads."""
    orders, notes = phone["work_orders"], phone["notes"]

    def add_note(change: Any) -> None:
        (row_id,) = change.rows["work_orders"]
        with ThreadPoolExecutor(1) as worker:
            title = worker.submit(orders.get, row_id).result(WAIT_S).data["title"]
            worker.submit(notes.create, {"text": title}).result(WAIT_S)
        notes.create({"text": title})

    orders.on_change(add_note)
    orders.create({"title": "x"})

    assert [note.data for note in notes.all()] == [{"text": "x"}] * 2


def test_listener_that_fails_breaks_nothing_and_is_logged(
    server: Any, phone: Any, heard: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A screen that is gone must not cost a sync."""
    told = []

    def fail(change: Any) -> None:
        told.append(change)
        raise RuntimeError("the screen is gone")

    phone.client.on_change(fail)
    phone.client.on_change(told.append)
    server.faults.append(Fault.LOST_ANSWER)

    with caplog.at_level(logging.ERROR, "fieldsync"):
        phone["work_orders"].create({"title": "x"}, id="w1")
        report = phone.sync()

    assert (report.pushed, report.pulled) == (1, 1)
    assert len(told) == 2 * len(heard) == 6
    assert "the screen is gone" in caplog.text


def test_listener_that_would_wait_for_itself_is_told(
    phone: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """`sync()` in a listener of a sync would stand still for ever."""
    end = phone.client.on_change(lambda change: phone.client.sync())

    phone["work_orders"].create({"title": "x"}, id="w1")

    assert "sync_soon" in caplog.text
    end()
    assert phone.sync().pushed == 1


def test_listener_hears_until_it_is_ended(phone: Any) -> None:
    """Ending twice is no harm, and ends nobody else."""
    one: list[Any] = []
    end = phone.client.on_change(one.append)
    phone.client.on_change(one.append)

    phone["notes"].create({"text": "x"})
    end()
    end()
    phone["notes"].create({"text": "y"})

    assert len(one) == 3
