"""Pushing: every mutation gets one final outcome, however bad the link."""

from __future__ import annotations

import json
import random
import sqlite3
from typing import Any

import httpx2
import pytest

import fieldsync
from fieldsync.testing import Fault, answer, problem

ORDER = {"kind": "repair", "title": "Replace the pump seal"}
SAFE_FAULTS = [fault for fault in Fault if fault is not Fault.EXPIRED]


def test_created_row_comes_back_with_what_the_server_gave_it(server: Any, phone: Any) -> None:
    """The own echo is applied: it brings the number of the work order."""
    row_id = phone["work_orders"].create(ORDER)
    assert phone["work_orders"].get(row_id).is_pending

    report = phone.sync()

    row = phone["work_orders"].get(row_id)
    assert (row.version, row.data["number"], row.is_pending) == (1, "WO-1", False)
    assert (report.pushed, report.pulled, dict(report.outcomes)) == (1, 1, {"created": 1})
    status = phone.client.status()
    assert (status.pending, status.sent, status.acked_unseen, status.rows) == (0, 0, 0, 1)


@pytest.mark.parametrize("fault", SAFE_FAULTS)
def test_resend_after_any_fault_does_it_once(server: Any, phone: Any, fault: Fault) -> None:
    """The same key and bytes again, whatever became of the first try."""
    row_id = phone["work_orders"].create(ORDER)
    server.faults.append(fault)

    report = phone.sync()

    assert [entry[3] for entry in server.applied] == [row_id]
    assert len(set(server.pushes())) == 1
    assert report.retries == (0 if fault is Fault.DOUBLED else 1)
    assert report.replays == (fault in {Fault.LOST_ANSWER, Fault.TRUNCATED, Fault.DOUBLED})
    assert report.batches_sent == 1 + report.retries
    assert report.batches_applied == 1
    assert phone.client.status().acked_unseen == 0


def test_process_death_after_lost_answer_sends_the_same_bytes(server: Any, phone: Any) -> None:
    """The key is on the disk before the first byte is sent."""
    phone["work_orders"].create(ORDER)
    server.faults.extend([Fault.LOST_ANSWER] * 6)
    with pytest.raises(fieldsync.Unreachable):
        phone.sync()

    phone.restart()
    phone["work_orders"].create(ORDER | {"title": "Later"})
    report = phone.sync()

    assert report.replays == 1
    assert len(set(server.pushes())) == 2
    assert len(server.applied) == 2


def test_budget_spent_keeps_the_work(server: Any, phone: Any) -> None:
    """A phone without a link gives up in time, and says so."""
    phone["work_orders"].create(ORDER)
    server.faults.extend([Fault.CUT_BEFORE] * 100)

    with pytest.raises(fieldsync.Unreachable) as caught:
        phone.sync()

    assert isinstance(caught.value.report, fieldsync.SyncReport)
    assert caught.value.report.batches_sent == 6
    assert len(phone.waits) == 5
    assert phone.client.status().sent == 1


def test_busy_server_is_given_its_time(server: Any, phone: Any) -> None:
    """`Retry-After` is a floor; the jitter comes on top."""
    phone["work_orders"].create(ORDER)
    server.faults.extend([Fault.LIMITED, Fault.BUSY])

    phone.sync()

    assert 7 <= phone.waits[0] <= 7 * 1.25
    assert 2 <= phone.waits[1] <= 2 * 1.25


def test_edit_during_push_stays_pending_on_the_new_version(server: Any, phone: Any) -> None:
    """The ack covers what was sent; the newer edit goes next, on version 1."""
    row_id = phone["work_orders"].create(ORDER)

    def edit_once(path: str) -> None:
        server.before_answer = lambda path: None
        phone["work_orders"].update(row_id, {"title": "Edited meanwhile"})

    server.before_answer = edit_once
    report = phone.sync()

    assert dict(report.outcomes) == {"created": 1, "updated": 1}
    second_push = json.loads(server.pushes()[1][1])["mutations"][0]
    assert (second_push["op"], second_push["base_version"]) == ("update", 1)
    assert second_push["data"] == {"title": "Edited meanwhile"}
    assert server.live("work_orders")[row_id]["title"] == "Edited meanwhile"


@pytest.mark.parametrize(
    ("steps", "sent"),
    [
        ("create update", [("create", {"a": 1, "b": 2})]),
        ("create delete", []),
        ("create update delete", []),
    ],
)
def test_edits_of_a_new_row_add_up(server: Any, phone: Any, steps: str, sent: Any) -> None:
    """What was never sent needs no history."""
    orders = phone["work_orders"]
    for step in steps.split():
        match step:
            case "create":
                row_id = orders.create({"a": 1, "b": 1})
            case "update":
                orders.update(row_id, {"b": 2})
            case _:
                orders.delete(row_id)

    phone.sync()

    pushed = [m for _, body in server.pushes() for m in json.loads(body)["mutations"]]
    assert [(m["op"], m["data"]) for m in pushed] == sent


def test_edits_of_a_known_row_add_up(server: Any, phone: Any) -> None:
    """Two updates are one, on the base of the first; an update and a delete are a delete."""
    orders = phone["work_orders"]
    one, two = orders.create({"a": 1, "b": 1}), orders.create({"a": 1})
    phone.sync()

    orders.update(one, {"a": 2, "b": 1})
    orders.update(one, {"b": 3})
    orders.update(two, {"a": 5})
    orders.delete(two)
    phone.sync()

    update, delete = json.loads(server.pushes()[-1][1])["mutations"]
    assert update == {
        "op": "update", "collection": "work_orders", "id": one, "base_version": 1, "data": {"a": 2, "b": 3},
    }  # fmt: skip
    assert delete == {"op": "delete", "collection": "work_orders", "id": two, "base_version": 1}


def test_too_large_batch_is_halved_under_new_keys(server: Any, phone: Any) -> None:
    """Order is kept: parents stay before their children across the parts."""
    order = phone["work_orders"].create(ORDER)
    for at in range(6):
        phone["notes"].create({"work_order": order, "text": str(at)})
    server.rows_max = 2

    report = phone.sync()

    assert dict(report.outcomes) == {"created": 7}
    assert len({key for key, _ in server.pushes()}) == len(server.pushes())
    assert [note["text"] for note in server.live("notes").values()] == [str(at) for at in range(6)]


def test_row_that_is_edited_while_its_batch_is_too_large_is_sent_twice(
    server: Any, phone: Any
) -> None:
    """Its first edit in a half of the batch, its second behind it: they are never one."""
    first, second = phone["work_orders"].create(ORDER), phone["work_orders"].create(ORDER)
    server.rows_max = 1

    def edit_once(path: str) -> None:
        server.before_answer = lambda path: None
        for row_id in (first, second):
            phone["work_orders"].update(row_id, {"title": "Edited meanwhile"})

    server.before_answer = edit_once
    report = phone.sync()

    assert dict(report.outcomes) == {"created": 2, "updated": 2}
    titles = [row["title"] for row in server.live("work_orders").values()]
    assert titles == ["Edited meanwhile"] * 2


def test_too_large_row_becomes_an_issue_and_the_rest_goes_on(server: Any, phone: Any) -> None:
    """One giant row costs nobody else anything."""
    small = phone["work_orders"].create(ORDER)
    giant = phone["work_orders"].create({"title": "x" * 5000})
    server.bytes_max = 1000

    report = phone.sync()

    assert list(server.live("work_orders")) == [small]
    (issue,) = phone.client.issues()
    assert (issue.row_id, issue.code, report.issues) == (giant, "body_too_large", 1)


def test_group_travels_whole(server: Any, phone: Any) -> None:
    """A group is never parted, neither by the batch size nor by a 413."""
    phone.options["push_rows_max"] = 2
    phone.restart()
    with phone.client.group("visit-17"):
        for at in range(3):
            phone["work_orders"].create({"title": str(at)})
        phone.sync()
        assert server.pushes() == []
    phone["work_orders"].create(ORDER)

    phone.sync()

    sent = [json.loads(body)["mutations"] for _, body in server.pushes()]
    assert [[m.get("group") for m in batch] for batch in sent] == [["visit-17"] * 3, [None]]


def test_group_with_a_bad_row_becomes_issues_together(server: Any, phone: Any) -> None:
    """The good row says that it fell with its group; sent again with the mended one, both go."""
    with phone.client.group("visit-17"):
        good, bad = (
            phone["work_orders"].create({"title": "ok"}),
            phone["work_orders"].create({"title": "BAD"}),
        )
    phone.sync()
    by_row = {issue.row_id: issue for issue in phone.client.issues()}
    assert (by_row[good].outcome, by_row[bad].outcome) == ("not_applied", "invalid")
    assert by_row[good].blocked_by["id"] == bad
    assert by_row[bad].errors[0]["path"] == "title"

    by_row[good].retry()
    by_row[bad].resolve(keep={"title": "mended"})
    phone.sync()

    assert {row["title"] for row in server.live("work_orders").values()} == {"ok", "mended"}
    assert phone.client.issues() == []


def test_later_edit_of_a_refused_row_takes_its_group_along(server: Any, phone: Any) -> None:
    """The group is refused whole, by the server; the create is an issue of its own."""
    bad = phone["work_orders"].create({"title": "BAD"})
    others = []

    def visit_once(path: str) -> None:
        server.before_answer = lambda path: None
        with phone.client.group("visit-17"):
            phone["work_orders"].update(bad, {"note": "later"})
            others.append(phone["work_orders"].create({"title": "Of the same visit"}))

    server.before_answer = visit_once
    phone.sync()

    assert server.live("work_orders") == {}
    found = [(issue.row_id, issue.outcome, issue.mine) for issue in phone.client.issues()]
    assert found == [
        (bad, "invalid", {"title": "BAD"}),
        (bad, "not_found", {"note": "later"}),
        (others[0], "not_applied", {"title": "Of the same visit"}),
    ]


def test_later_edit_of_a_row_whose_id_was_taken_overwrites_nobody(server: Any, phone: Any) -> None:
    """It was made on the row of this phone, not on the one that the server has."""
    server.create("work_orders", "w1", title="Theirs")
    phone["work_orders"].create({"title": "Mine"}, id="w1")

    def visit_once(path: str) -> None:
        server.before_answer = lambda path: None
        with phone.client.group("visit-17"):
            phone["work_orders"].update("w1", {"title": "Mine, later"})

    server.before_answer = visit_once
    phone.sync()

    assert server.live("work_orders")["w1"]["title"] == "Theirs"
    assert [issue.outcome for issue in phone.client.issues()] == ["conflict", "conflict"]


def test_delete_behind_a_create_whose_id_was_taken_is_asked_about(server: Any, phone: Any) -> None:
    """The row that was to go is there, and is somebody else's."""
    server.create("work_orders", "w1", title="Theirs")
    phone["work_orders"].create({"title": "Mine"}, id="w1")
    phone.pull()

    def delete_once(path: str) -> None:
        server.before_answer = lambda path: None
        phone["work_orders"].delete("w1")

    server.before_answer = delete_once
    phone.sync()

    assert "w1" in server.live("work_orders")
    assert [(issue.op, issue.outcome) for issue in phone.client.issues()] == [
        ("delete", "conflict")
    ]


@pytest.mark.parametrize("status", [409, 422])
def test_report_in_a_problem_document_is_final(server: Any, phone: Any, status: int) -> None:
    """409 and 422 with results are answers, not failures."""
    row_id = phone["work_orders"].create(ORDER)
    result = {"index": 0, "collection": "work_orders", "id": row_id, "outcome": "invalid"}
    body = json.dumps({"code": "rejected", "status": status, "results": [result]}).encode()
    server._push = lambda *given: answer(status, body)

    phone.sync()

    assert [issue.outcome for issue in phone.client.issues()] == ["invalid"]


@pytest.mark.parametrize("status", [400, 404, 422])
def test_unexpected_refusal_raises_and_keeps_everything(
    server: Any, phone: Any, status: int
) -> None:
    """A bug of the server's or ours never costs work."""
    phone["work_orders"].create(ORDER)
    server._push = lambda *given: problem(status, "idempotency_key_reused")

    with pytest.raises(fieldsync.ServerBug) as caught:
        phone.sync()

    assert (caught.value.status, caught.value.request_id) == (status, "r1")
    assert phone.waits == []
    del server._push
    assert phone.sync().pushed == 1


def test_answer_to_another_batch_is_a_bug(server: Any, phone: Any) -> None:
    """A report that misses a mutation settles nothing."""
    phone["work_orders"].create(ORDER)
    server._push = lambda *given: answer(200, b'{"status": "ok", "results": []}')

    with pytest.raises(fieldsync.ServerBug, match="results_mismatch"):
        phone.sync()

    assert phone.client.status().sent == 1


def test_unknown_outcome_becomes_an_issue(server: Any, phone: Any) -> None:
    """A newer server may refuse in ways this SDK has no name for."""
    row_id = phone["work_orders"].create(ORDER)
    result = {
        "index": 0,
        "collection": "work_orders",
        "id": row_id,
        "outcome": "embargoed",
        "moon": "full",
    }
    server._push = lambda *given: answer(200, json.dumps({"results": [result]}).encode())

    phone.sync()

    assert [issue.outcome for issue in phone.client.issues()] == ["embargoed"]


def test_every_request_carries_the_devices_time(server: Any, phone: Any) -> None:
    """The server measures the clock's skew by it."""
    phone.sync()

    for *_, headers in server.seen:
        assert headers["x-client-time"].endswith("Z")
        assert headers["user-agent"].startswith("fieldsync-python/")


def test_ids_are_kept_as_the_server_compares_them(server: Any, phone: Any) -> None:
    """An upper-case UUID is the same row."""
    given = "0199A3F0-0000-7000-8000-00000000000A"
    row_id = phone["work_orders"].create(ORDER, id=given)

    phone.sync()

    assert row_id == given.lower()
    assert phone["work_orders"].get(given).version == 1


@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.BUSY])
def test_crowd_does_not_come_back_together(server: Any, new_phone: Any, fault: Fault) -> None:
    """Neither after a lost link nor after a `Retry-After`: every phone draws its own wait."""
    waits = []
    for seed in range(8):
        crowd = new_phone(rng=random.Random(seed))
        server.faults.extend([fault] * 3)
        crowd.sync()
        waits.append(tuple(crowd.waits))

    assert len(set(waits)) == 8
    floor_s = 2.0 if fault is Fault.BUSY else 0.0
    assert all(floor_s <= wait_s <= floor_s + 2.0 for each in waits for wait_s in each)
    assert fault is Fault.BUSY or min(each[0] for each in waits) < 0.25


def test_batch_is_on_the_disk_before_its_first_byte_is_sent(server: Any, phone: Any) -> None:
    """Another process that opens the store at that moment finds the same key and bytes."""
    phone["work_orders"].create(ORDER)
    found: list[Any] = []

    def look(request: Any) -> Any:
        with sqlite3.connect(phone.path) as connection:
            found.extend(connection.execute("SELECT key, body FROM batch"))
        connection.close()
        raise httpx2.ConnectError("unreachable", request=request)

    handle, server.handle = server.handle, look
    phone.restart()
    with pytest.raises(fieldsync.Unreachable):
        phone.sync()
    server.handle = handle
    phone.restart()
    phone.sync()

    ((key, body),) = server.pushes()
    assert {(f'"{stored}"', bytes(text)) for stored, text in found} == {(key, body)}
