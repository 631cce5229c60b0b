"""Checking: a replica that differs from the server is found, mended and told of; edits stay."""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Callable

import pytest
from phone import Phone

import fieldsync
from fieldsync.drivers import drive
from fieldsync.testing import FakeServer, Fault, answer, problem

ROWS = 40
DAY = dt.timedelta(days=1)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = dt.datetime(2026, 5, 4, 8, tzinfo=dt.UTC)

    def __call__(self) -> dt.datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def phone(new_phone: Callable[..., Phone], clock: Clock) -> Phone:
    return new_phone(now=clock)


@pytest.fixture
def ids(server: FakeServer, phone: Phone) -> list[str]:
    """Rows that the phone holds."""
    found = [phone["work_orders"].create({"title": f"Größe {at}"}) for at in range(ROWS)]
    phone.sync()
    server.seen.clear()
    return found


def spoil(phone: Phone, sql: str, *values: object) -> None:
    """Change the replica past the engine."""
    phone.client._engine._store.writer.execute(sql, values)


def paths(server: FakeServer) -> list[str]:
    """What was asked for since the rows were there."""
    return [path.removeprefix("sync/") for _, path, _, _ in server.seen]


SPOILERS = {
    "data": "UPDATE replica SET data = '{}' WHERE row_id = ?",
    "blank": "UPDATE replica SET data = replace(data, ':', ': ') WHERE row_id = ?",
    "version": "UPDATE replica SET version = 9 WHERE row_id = ?",
    "missing": "DELETE FROM replica WHERE row_id = ?",
    "extra": "INSERT INTO replica SELECT collection, 'x' || row_id, version, data, generation"
    " FROM replica WHERE row_id = ?",
    "moved": "UPDATE replica SET collection = 'sites' WHERE row_id = ?",
}


@pytest.mark.parametrize("kind", SPOILERS)
def test_replica_that_differs_is_mended(
    server: FakeServer, phone: Phone, ids: list[str], kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever went wrong with it; and it is said aloud, since it means a bug."""
    spoil(phone, SPOILERS[kind], ids[3])

    with caplog.at_level(logging.WARNING, "fieldsync"):
        report = phone.client.verify()

    assert report.verified is True
    assert report.repaired == (2 if kind == "moved" else 1)
    assert "differs" in caplog.text
    assert phone.view("work_orders") == server.live("work_orders")
    assert phone.view("sites") == {}
    assert phone.client.verify().repaired == 0


def test_equal_replica_costs_one_request(
    server: FakeServer, phone: Phone, ids: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Edits that wait are no difference."""
    phone["work_orders"].update(ids[0], {"title": "Mine"})

    with caplog.at_level(logging.WARNING, "fieldsync"):
        report = check(phone)

    assert paths(server) == ["digest"]
    assert (report.verified, report.repaired, caplog.text) == (True, 0, "")


def check(phone: Phone) -> fieldsync.SyncReport:
    """Check alone."""
    budget, report = phone._round()
    drive(phone._rounds._check.run(budget, report, is_asked=True), phone.client._outside)
    return report


def test_repair_does_not_touch_edits(server: FakeServer, phone: Phone, ids: list[str]) -> None:
    """Neither of a row that is put right, nor of one that is dropped or comes back."""
    orders = phone["work_orders"]
    for row_id in ids[:2]:
        orders.update(row_id, {"title": "Mine"})
    spoil(phone, SPOILERS["data"], ids[0])
    spoil(phone, SPOILERS["missing"], ids[1])

    report = check(phone)

    assert (report.verified, report.repaired, report.issues) == (True, 2, 0)
    assert phone.client.status().pending == 2
    assert [orders.get(row_id).data["title"] for row_id in ids[:2]] == ["Mine", "Mine"]  # type: ignore[union-attr]
    assert [orders.get(row_id).data["number"] for row_id in ids[:2]] == ["WO-1", "WO-2"]  # type: ignore[union-attr]
    assert phone.sync().outcomes == {"updated": 2}


def test_check_is_due_once_a_day(
    server: FakeServer, phone: Phone, ids: list[str], clock: Clock
) -> None:
    """By the time that is stored, so that a new process does not begin anew."""
    phone.sync()
    clock.now += DAY - dt.timedelta(seconds=1)
    phone.restart()
    phone.sync()
    assert paths(server) == ["pull", "pull"]

    clock.now += dt.timedelta(seconds=1)
    report = phone.sync()

    assert paths(server) == ["pull", "pull", "pull", "digest"]
    assert report.verified is True
    assert phone.sync().verified is None


def test_clock_that_went_back_does_not_put_it_off(
    server: FakeServer, phone: Phone, ids: list[str], clock: Clock
) -> None:
    clock.now -= 300 * DAY

    assert phone.sync().verified is True


def test_check_follows_every_fresh_pull(server: FakeServer, phone: Phone, ids: list[str]) -> None:
    server.gone_code = "cursor_expired"

    assert phone.sync().verified is True


def test_rows_that_came_meanwhile_are_pulled_first(
    server: FakeServer, phone: Phone, ids: list[str]
) -> None:
    """A replica that is behind is not wrong."""

    def edit_once(path: str) -> None:
        if path == "sync/pull":
            server.before_answer = lambda path: None
            server.edit("work_orders", ids[0], title="Theirs")

    server.before_answer = edit_once
    report = phone.client.verify()

    assert paths(server) == ["pull", "digest", "pull", "digest"]
    assert (report.verified, report.repaired) == (True, 0)


def test_replica_that_moved_on_is_not_repaired_with_what_is_older(
    server: FakeServer, phone: Phone, ids: list[str], new_phone: Callable[..., Phone]
) -> None:
    """Another process on the store has pulled between the question and its answer."""
    other = new_phone(None)
    other.share_store_of(phone)
    spoil(phone, SPOILERS["data"], ids[0])

    def pull_in_the_other_process(path: str) -> None:
        if path == "sync/rows":
            server.before_answer = lambda path: None
            server.edit("work_orders", ids[0], title="Newer")
            other.pull()

    server.before_answer = pull_in_the_other_process
    report = phone.client.verify()

    row = phone["work_orders"].get(ids[0])
    assert row is not None
    assert (row.version, row.data["title"]) == (2, "Newer")
    assert (report.verified, report.repaired) == (True, 0)


@pytest.mark.parametrize("is_delete", [False, True])
def test_acked_row_that_no_pull_has_shown_is_left_alone(
    server: FakeServer,
    phone: Phone,
    ids: list[str],
    new_phone: Callable[..., Phone],
    is_delete: bool,
) -> None:
    """Another process pushed meanwhile: the pull that shows it decides."""
    other = new_phone(None)
    other.share_store_of(phone)
    spoil(phone, SPOILERS["data"], ids[0])

    def push_from_the_other_process(path: str) -> None:
        if path == "sync/digest":
            server.before_answer = lambda path: None
            if is_delete:
                other["work_orders"].delete(ids[0])
            else:
                other["work_orders"].update(ids[0], {"title": "Acked"})
            other.push()

    server.before_answer = push_from_the_other_process
    report = phone.client.verify()

    assert paths(server)[-4:] == ["rows", "digest", "pull", "digest"]
    assert (report.verified, report.repaired) == (True, 0)
    assert phone.view("work_orders") == server.live("work_orders")


def test_digest_of_another_moment_is_no_alarm(
    server: FakeServer,
    phone: Phone,
    ids: list[str],
    new_phone: Callable[..., Phone],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Another process has pulled before the replica was summed up."""
    other = new_phone(None)
    other.share_store_of(phone)

    def pull_in_the_other_process(path: str) -> None:
        if path == "sync/digest":
            server.before_answer = lambda path: None
            server.edit("work_orders", ids[0], title="Newer")
            other.pull()

    server.before_answer = pull_in_the_other_process
    with caplog.at_level(logging.WARNING, "fieldsync"):
        report = phone.client.verify()

    assert (report.verified, report.repaired, caplog.text) == (True, 0, "")


@pytest.mark.parametrize("code", ["cursor_expired", "epoch_changed", "cursor_invalid"])
def test_cursor_that_the_digest_refuses_means_a_fresh_pull(
    server: FakeServer, phone: Phone, ids: list[str], code: str
) -> None:
    def go_once(path: str) -> None:
        if path == "sync/pull":
            server.before_answer = lambda path: None
            server.gone_code = code

    server.before_answer = go_once
    report = phone.client.verify()

    assert paths(server) == ["pull", "digest", "pull", "digest"]
    assert (report.verified, report.pulled) == (True, ROWS)


def test_replica_that_is_wrong_throughout_is_pulled_afresh(
    server: FakeServer, phone: Phone, ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hundreds of buckets cost the server more than one stream."""
    monkeypatch.setattr("fieldsync.engine.check.BUCKETS_MAX", 3)
    spoil(phone, "UPDATE replica SET data = '{}'")

    report = phone.client.verify()

    assert paths(server) == ["pull", "digest", "pull", "digest"]
    assert report.verified is True
    assert phone.view("work_orders") == server.live("work_orders")


def test_server_that_can_not_be_agreed_with_is_left_in_peace(
    server: FakeServer,
    phone: Phone,
    ids: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The sync comes to its end, the report says it, and it is not asked again before tomorrow."""
    sums = {"count": 1, "checksum": "1"}
    body = {
        "behind": False,
        "collections": {"work_orders": {"buckets": {str(at): sums for at in range(256)}}},
    }
    monkeypatch.setattr(server, "_digest", lambda *given: answer(200, json.dumps(body).encode()))

    with caplog.at_level(logging.WARNING, "fieldsync"):
        report = phone.client.verify()

    assert report.verified is False
    assert "could not be made equal" in caplog.text
    assert phone.view("work_orders") == server.live("work_orders")
    server.seen.clear()
    phone.sync()
    assert paths(server) == ["pull"]


def test_digest_that_fails_costs_no_sync(
    server: FakeServer, phone: Phone, ids: list[str], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But whoever asks for the proof is told that there is none."""
    monkeypatch.setattr(server, "_digest", lambda *given: problem(404, "not_found"))
    clock.now += DAY

    assert phone.sync().verified is None
    assert phone.sync().verified is None
    assert paths(server) == ["pull", "digest", "pull"]  # it is not asked again before tomorrow
    with pytest.raises(fieldsync.ServerBug):
        phone.client.verify()


def test_link_that_fails_in_a_check_is_tried_again(
    server: FakeServer, phone: Phone, ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In pages of a bucket, too: all of it is fetched before anything is replaced."""
    monkeypatch.setattr("fieldsync.engine.check.PAGE_ROWS_MAX", 1)
    for row_id in ids[: ROWS // 2]:
        spoil(phone, SPOILERS["missing"], row_id)
    server.faults.extend([None, Fault.TRUNCATED, None, Fault.HTML, Fault.CUT_BEFORE, Fault.BUSY])

    report = phone.client.verify()

    assert (report.verified, report.repaired) == (True, ROWS // 2)
    assert phone.view("work_orders") == server.live("work_orders")


def test_bucket_without_end_is_a_bug_of_the_servers(
    server: FakeServer, phone: Phone, ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every loop has an end."""
    spoil(phone, SPOILERS["data"], ids[0])
    body = b'{"has_more": true, "changes": []}'
    monkeypatch.setattr(server, "_rows", lambda *given: answer(200, body))

    with pytest.raises(fieldsync.ServerBug, match="bucket_without_end"):
        phone.client.verify()
