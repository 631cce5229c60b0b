"""Pulling: the replica ends equal to the server, and unsent work is never overwritten."""

from __future__ import annotations

import json
from typing import Any

import pytest

import fieldsync
from fieldsync.testing import Fault, answer, problem

ORDER = {"kind": "repair", "title": "Replace the pump seal"}


@pytest.fixture
def row_id(server: Any, phone: Any, second: Any) -> str:
    """A work order that both phones hold at version 1."""
    row_id: str = phone["work_orders"].create(ORDER)
    phone.sync()
    second.sync()
    return row_id


def test_pull_moves_the_server_tree_under_a_pending_edit(
    server: Any, phone: Any, second: Any, row_id: str
) -> None:
    """The other's field arrives, mine stays on top, and the base stays the old one."""
    second["work_orders"].update(row_id, {"kind": "install"})
    second.sync()
    phone["work_orders"].update(row_id, {"title": "Mine"})

    phone.pull()
    row = phone["work_orders"].get(row_id)
    assert (row.version, row.data["kind"], row.data["title"]) == (2, "install", "Mine")
    assert phone["work_orders"].query(title="Mine", kind="install") == [row]

    phone["work_orders"].update(row_id, {"note": "Made after the pull"})
    report = phone.sync()
    assert json.loads(server.pushes()[-1][1])["mutations"][0]["base_version"] == 1
    assert (report.merged, dict(report.outcomes)) == (1, {"merged": 1})


def test_edit_behind_a_merge_does_not_overwrite_what_it_never_saw(
    server: Any, phone: Any, second: Any, row_id: str
) -> None:
    """Rebased onto the merge it would silently undo the other's edit: it must conflict."""
    second["work_orders"].update(row_id, {"kind": "install"})
    second.sync()
    phone["work_orders"].update(row_id, {"title": "Mine"})

    def edit_once(path: str) -> None:
        server.before_answer = lambda path: None
        phone["work_orders"].update(row_id, {"kind": "inspection"})

    server.before_answer = edit_once
    report = phone.sync()

    assert dict(report.outcomes) == {"merged": 1, "conflict": 1}
    assert server.live("work_orders")[row_id]["kind"] == "install"


@pytest.mark.parametrize(
    ("vanish", "outcome", "code"),
    [
        (lambda server, row_id: server.delete("work_orders", row_id), "gone", "deleted_elsewhere"),
        (
            lambda server, row_id: server.hide("tess", "work_orders", row_id),
            "not_found",
            "scope_exit",
        ),
    ],
)
def test_row_that_leaves_under_a_pending_edit_becomes_an_issue(
    server: Any, phone: Any, row_id: str, vanish: Any, outcome: str, code: str
) -> None:
    """Nothing vanishes in silence."""
    vanish(server, row_id)
    phone["work_orders"].update(row_id, {"title": "Mine"})
    phone.pull()

    assert phone["work_orders"].get(row_id) is None
    (issue,) = phone.client.issues()
    assert (issue.outcome, issue.code, issue.mine) == (outcome, code, {"title": "Mine"})
    assert issue.base["title"] == ORDER["title"]
    assert phone.client.status().pending == 0


def test_row_without_edits_leaves_quietly(server: Any, phone: Any, row_id: str) -> None:
    """A tombstone and a scope exit both take the row away."""
    other = phone["work_orders"].create(ORDER)
    phone.sync()
    server.delete("work_orders", row_id)
    server.hide("tess", "work_orders", other)

    phone.sync()

    assert phone.view("work_orders") == {}
    assert phone.client.issues() == []


def test_page_and_cursor_are_one_step(server: Any, phone: Any, new_phone: Any) -> None:
    """A first sync cut after some pages goes on from the last page it stored."""
    server.can_stream = False
    for at in range(2500):
        phone["work_orders"].create({"title": str(at)})
    phone.sync()
    fresh = new_phone()
    server.faults.extend([Fault.DOUBLED, *[Fault.CUT_BEFORE] * 6])
    with pytest.raises(fieldsync.Unreachable):
        fresh.sync()
    assert fresh.client.status().rows == 1000
    fresh.restart()
    server.seen.clear()

    report = fresh.sync()

    paths = [path for _, path, *_ in server.seen]
    assert (report.pulled, paths) == (1500, ["sync/pull", "sync/pull", "sync/digest"])
    assert fresh.view("work_orders") == server.live("work_orders")


@pytest.mark.parametrize(
    "code", ["cursor_expired", "cursor_invalid", "scopes_changed", "some_new_code"]
)
def test_lost_cursor_means_a_fresh_pull_and_a_sweep(
    server: Any, phone: Any, row_id: str, code: str
) -> None:
    """Rows that the fresh pull does not show leave; those with edits become issues."""
    edited, kept = phone["work_orders"].create(ORDER), phone["work_orders"].create(ORDER)
    phone.sync()
    server.delete("work_orders", row_id)
    server.hide("tess", "work_orders", edited)
    server.prune()
    server.gone_code = code

    def edit_after_push(path: str) -> None:
        if path == "sync/pull":
            server.before_answer = lambda path: None
            phone["work_orders"].update(kept, {"title": "Mine"})

    server.before_answer = edit_after_push
    phone.sync()
    phone.sync()

    assert list(phone.view("work_orders")) == [kept]
    assert server.live("work_orders")[kept]["title"] == "Mine"
    assert phone.client.status().acked_unseen == 0


def test_edit_of_a_row_that_a_fresh_pull_does_not_show_becomes_an_issue(
    server: Any, phone: Any, row_id: str
) -> None:
    """The sweep, too, lets nothing vanish in silence."""
    server.delete("work_orders", row_id)
    server.prune()
    phone["work_orders"].update(row_id, {"title": "Mine"})

    assert not phone.pull()
    phone.restart()
    assert phone.pull()

    assert phone.view("work_orders") == {}
    assert [issue.code for issue in phone.client.issues()] == ["missing_after_restart"]


def test_ack_is_not_an_echo(server: Any, phone: Any) -> None:
    """What a restored server forgot, though it had acked it, is pushed again."""
    seen = phone["work_orders"].create(ORDER)
    phone.sync()
    backup = server.backup()
    row_id = phone["work_orders"].create({"title": "Acked"})
    phone["work_orders"].update(seen, {"title": "Acked too"})
    server.faults.extend([Fault.DOUBLED, *[Fault.CUT_BEFORE] * 6])
    with pytest.raises(fieldsync.Unreachable):
        phone.sync()
    assert phone.client.status().acked_unseen == 2
    assert phone["work_orders"].get(row_id).data["title"] == "Acked"

    server.restore(backup)
    phone.restart()
    phone.sync()

    titles = {row["title"] for row in server.live("work_orders").values()}
    assert titles == {"Acked", "Acked too"}
    assert phone.client.issues() == []
    assert phone.view("work_orders") == server.live("work_orders")
    assert phone.client.status().acked_unseen == 0


def test_edit_sent_before_the_restore_was_noticed_is_kept_as_an_issue(
    server: Any, phone: Any
) -> None:
    """The push comes before the pull that tells; once the row is back, a retry succeeds."""
    phone.sync()
    backup = server.backup()
    row_id = phone["work_orders"].create({"title": "Acked"})
    server.faults.extend([Fault.DOUBLED, *[Fault.CUT_BEFORE] * 6])
    with pytest.raises(fieldsync.Unreachable):
        phone.sync()
    phone["work_orders"].update(row_id, {"title": "Acked and edited"})

    server.restore(backup)
    phone.sync()
    (issue,) = phone.client.issues()
    issue.retry()
    phone.sync()

    assert server.live("work_orders")[row_id]["title"] == "Acked and edited"
    assert phone.client.issues() == []


def test_delete_of_a_row_that_is_pushed_again_after_a_restore_is_sent(
    server: Any, phone: Any
) -> None:
    """Create and delete are nothing only where the server never heard of the row: here it did."""
    phone.sync()
    row_id = phone["work_orders"].create(ORDER)
    phone.push()
    server.restore(server.backup())

    def delete_once(path: str) -> None:
        server.before_answer = lambda path: None
        phone["work_orders"].delete(row_id)

    server.before_answer = delete_once
    phone.sync()

    assert (server.live("work_orders"), phone.view("work_orders")) == ({}, {})
    assert phone.client.issues() == []


def test_older_page_does_not_end_the_wait_for_an_echo(
    server: Any, phone: Any, row_id: str
) -> None:
    """It was read before the push: what it shows is not what was acked."""
    old = {"op": "upsert", "collection": "work_orders", "id": row_id, "version": 1, "data": ORDER}
    page = {"cursor": "1:1", "has_more": False, "changes": [old]}
    phone["work_orders"].update(row_id, {"title": "Acked"})
    server._pull = lambda *given: answer(200, json.dumps(page).encode())
    phone.sync()

    assert phone.client.status().acked_unseen == 1
    assert phone["work_orders"].get(row_id).data["title"] == "Acked"
    del server._pull
    phone.sync()
    assert phone.client.status().acked_unseen == 0


def test_fresh_pull_forgets_an_ack_whose_row_was_deleted_meanwhile(
    server: Any, phone: Any
) -> None:
    """No tombstone will ever come for it: it must not stay as a ghost."""
    row_id = phone["work_orders"].create(ORDER)
    server.faults.extend([Fault.DOUBLED, *[Fault.CUT_BEFORE] * 6])
    with pytest.raises(fieldsync.Unreachable):
        phone.sync()
    server.delete("work_orders", row_id)
    server.prune()

    phone.sync()

    assert phone.view("work_orders") == {}
    assert phone.client.status().acked_unseen == 0


def test_server_that_refuses_every_cursor_does_not_loop(server: Any, phone: Any) -> None:
    """Every loop has an end."""
    phone.sync()
    server._pull = lambda *given: problem(410, "cursor_expired")

    with pytest.raises(fieldsync.ServerBug, match="restarts_without_end"):
        phone.sync()


def test_deleted_row_is_hidden_at_once_and_stays_so(server: Any, phone: Any, row_id: str) -> None:
    """From the delete to the echo, in each step."""
    phone["work_orders"].delete(row_id)
    assert phone["work_orders"].get(row_id) is None
    with pytest.raises(fieldsync.RowNotFound):
        phone["work_orders"].update(row_id, {"title": "x"})
    with pytest.raises(fieldsync.RowExists):
        phone["work_orders"].create(ORDER, id=row_id)
    server.faults.extend([Fault.DOUBLED, *[Fault.CUT_BEFORE] * 6])
    with pytest.raises(fieldsync.Unreachable):
        phone.sync()
    assert phone.view("work_orders") == {}

    phone.sync()

    assert (phone.view("work_orders"), phone.client.status().acked_unseen) == ({}, 0)


def test_row_data_is_kept_as_received(server: Any, phone: Any) -> None:
    """A digest of the row must be possible later: its bytes are the server's."""
    raw = '{"a":  1.50, "b": "\\u00e9"}'
    page = f'{{"cursor": "1:1", "has_more": false, "changes": [{{"op": "upsert", "collection": "sites", "id": "s1", "version": 1, "data": {raw}}}]}}'
    server._pull = lambda *given: answer(200, page.encode())

    phone.pull()

    assert phone.client._engine._store.get_row("sites", "s1").text == raw


def test_page_that_cannot_be_applied_leaves_the_cursor_where_it_was(
    server: Any, phone: Any
) -> None:
    """A cursor ahead of its page would skip the page's rows for good."""
    phone["work_orders"].create(ORDER)
    good = {"op": "upsert", "collection": "sites", "id": "s1", "version": 1, "data": {"name": "x"}}
    bad = {"op": "transmogrify", "collection": "sites", "id": "s2"}
    page = {"cursor": "1:9", "has_more": False, "changes": [good, bad]}
    server._pull = lambda *given: answer(200, json.dumps(page).encode())

    with pytest.raises(fieldsync.ServerBug, match="change_unreadable"):
        phone.sync()

    status = phone.client.status()
    assert (status.has_cursor, status.rows) == (False, 0)
    del server._pull
    phone.sync()
    assert phone.view("work_orders") == server.live("work_orders")


def test_sweep_spares_a_row_that_was_acked_while_the_pages_came(
    server: Any, phone: Any, new_phone: Any, row_id: str
) -> None:
    """Another process pushed after the page was read: the page could not show the row."""
    other = new_phone(None)
    other.share_store_of(phone)
    server.hide("tess", "work_orders", row_id)
    server.gone_code = "cursor_expired"

    def push_from_the_other_process(path: str) -> None:
        if (
            path == "sync/pull"
            and server.gone_code is None
            and phone.client.status().has_cursor is False
        ):
            server.before_answer = lambda path: None
            server.hidden.clear()
            other["work_orders"].update(row_id, {"title": "Acked"})
            other.push()

    server.before_answer = push_from_the_other_process
    assert not phone.pull()
    assert phone.pull()

    assert phone["work_orders"].get(row_id).data["title"] == "Acked"
    assert phone.client.status().acked_unseen == 1


def test_pages_pulled_by_another_process_are_not_applied_twice(
    server: Any, phone: Any, new_phone: Any, row_id: str
) -> None:
    """An older page must not turn the replica back, nor its cursor."""
    other = new_phone(None)
    other.share_store_of(phone)
    server.edit("work_orders", row_id, title="First")

    def pull_in_the_other_process(path: str) -> None:
        if path == "sync/pull":
            server.before_answer = lambda path: None
            server.edit("work_orders", row_id, title="Second")
            other.sync()

    server.before_answer = pull_in_the_other_process
    phone.sync()

    assert phone["work_orders"].get(row_id).data["title"] == "Second"
    assert phone.client.status().has_cursor


def test_edit_behind_an_unchanged_answer_does_not_overwrite_what_it_never_saw(
    server: Any, phone: Any, row_id: str
) -> None:
    """The row is as I wanted it, but somebody else brought it there, and more with it."""
    server.edit("work_orders", row_id, title="Same", kind="install")
    phone["work_orders"].update(row_id, {"title": "Same"})

    def edit_once(path: str) -> None:
        server.before_answer = lambda path: None
        phone["work_orders"].update(row_id, {"kind": "inspection"})

    server.before_answer = edit_once
    report = phone.sync()

    assert dict(report.outcomes) == {"unchanged": 1, "conflict": 1}
    assert server.live("work_orders")[row_id]["kind"] == "install"


def test_edit_behind_an_unchanged_create_does_not_overwrite_what_it_never_saw(
    server: Any, phone: Any
) -> None:
    """A store that was put back creates its row again, which others have edited since."""
    server.create("work_orders", "w1", title="Mine")
    server.edit("work_orders", "w1", note="theirs")
    phone["work_orders"].create({"title": "Mine"}, id="w1")

    def edit_once(path: str) -> None:
        server.before_answer = lambda path: None
        phone["work_orders"].update("w1", {"note": "mine"})

    server.before_answer = edit_once
    report = phone.sync()

    assert dict(report.outcomes) == {"unchanged": 1, "conflict": 1}
    assert server.live("work_orders")["w1"]["note"] == "theirs"


def test_merge_shows_the_others_fields_before_the_pull(
    server: Any, phone: Any, row_id: str
) -> None:
    """`current` moves the server tree, and the ack still waits for its echo."""
    server.edit("work_orders", row_id, kind="install")
    phone["work_orders"].update(row_id, {"title": "Mine"})

    phone.push()

    row = phone["work_orders"].get(row_id)
    assert (row.version, row.data["kind"], row.data["title"]) == (3, "install", "Mine")
    assert phone.client.status().acked_unseen == 1


def test_merge_shows_what_others_made_of_an_edit_that_no_pull_has_shown(
    server: Any, phone: Any
) -> None:
    """An older ack on top of it would have the person overwrite what they never saw."""
    row_id = phone["work_orders"].create(ORDER)
    phone.push()
    server.edit("work_orders", row_id, title="Theirs")
    phone["work_orders"].update(row_id, {"note": "Mine"})

    phone.push()

    row = phone["work_orders"].get(row_id)
    assert (row.version, row.data["title"], row.data["note"]) == (3, "Theirs", "Mine")
    phone["work_orders"].update(row_id, {"title": "Mine, knowing theirs"})
    phone.sync()
    assert server.live("work_orders")[row_id]["title"] == "Mine, knowing theirs"


def test_scope_exit_ends_the_wait_for_an_echo(server: Any, phone: Any, row_id: str) -> None:
    """Whoever hands a work order on will never see it again."""
    phone["work_orders"].update(row_id, {"title": "Handed on"})
    phone.push()
    server.hide("tess", "work_orders", row_id)

    phone.sync()

    assert (phone.view("work_orders"), phone.client.status().acked_unseen) == ({}, 0)


def test_row_that_leaves_under_an_edit_on_its_way_waits_for_the_answer(
    server: Any, phone: Any, row_id: str
) -> None:
    """Both edits end up in issues, the later one on top of what became of the first."""
    phone["work_orders"].update(row_id, {"title": "Sent"})
    server.faults.extend([Fault.CUT_BEFORE] * 6)
    with pytest.raises(fieldsync.Unreachable):
        phone.sync()
    phone["work_orders"].update(row_id, {"kind": "Pending"})
    server.hide("tess", "work_orders", row_id)

    phone.pull()
    status = phone.client.status()
    assert (status.sent, status.pending, status.issues) == (1, 1, 0)

    phone.sync()
    assert [issue.mine for issue in phone.client.issues()] == [
        {"title": "Sent"},
        {"kind": "Pending"},
    ]


def test_edit_that_changes_nothing_is_not_sent(phone: Any, row_id: str) -> None:
    """Saving a form untouched costs no mutation."""
    phone["work_orders"].update(row_id, dict(phone["work_orders"].get(row_id).data))

    assert phone.client.status().pending == 0


def test_fresh_pull_cut_by_a_restart_still_sweeps_at_its_end(
    server: Any, phone: Any, row_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Marks and the fact that a fresh pull is under way are on the disk, page by page."""
    monkeypatch.setattr("fieldsync.engine.pull.PAGE_ROWS_MAX", 2)
    kept = {phone["work_orders"].create({"title": str(at)}) for at in range(6)}
    phone.sync()
    server.hide("tess", "work_orders", row_id)
    server.gone_code = "cursor_expired"
    server.can_stream = False
    monkeypatch.setattr(server, "tell", forget_exits(server))
    server.faults.extend([None, None, *[Fault.CUT_BEFORE] * 6])
    with pytest.raises(fieldsync.Unreachable):
        phone.sync()
    assert row_id in phone.view("work_orders")
    assert phone.client.status().has_cursor

    phone.restart()
    phone.sync()

    assert set(phone.view("work_orders")) == kept


def forget_exits(server: Any) -> Any:
    """A change as a first sync tells it: the row that left is not mentioned at all."""
    tell = server.tell

    def mention(name: Any, device: str, user: str) -> Any:
        told = tell(name, device, user)
        return told if told["op"] == "upsert" else told | {"id": "another-row"}

    return mention


def test_delete_of_a_row_that_a_pull_brought_under_its_create_is_sent(
    server: Any, phone: Any
) -> None:
    """A store that was put back still has the create, which the server carried out long ago."""
    server.create("work_orders", "w1", title="Mine")
    phone["work_orders"].create({"title": "Mine"}, id="w1")
    phone.pull()

    phone["work_orders"].delete("w1")
    assert phone["work_orders"].get("w1") is None
    phone.sync()

    assert server.live("work_orders") == phone.view("work_orders") == {}


def test_delete_of_a_row_that_hid_what_others_wrote_is_asked_about(
    server: Any, phone: Any
) -> None:
    """The create lay over it: whoever deletes has not seen what is deleted."""
    server.create("work_orders", "w1", title="Theirs")
    phone["work_orders"].create({"title": "Mine"}, id="w1")
    phone.pull()

    phone["work_orders"].delete("w1")
    phone.sync()

    assert server.live("work_orders")["w1"]["title"] == "Theirs"
    assert [(issue.op, issue.outcome) for issue in phone.client.issues()] == [
        ("delete", "conflict")
    ]


def test_delete_of_a_row_that_left_becomes_an_issue(server: Any, phone: Any, row_id: str) -> None:
    """It still exists, for others: whoever wanted it gone is told."""
    phone["work_orders"].delete(row_id)
    server.hide("tess", "work_orders", row_id)

    phone.pull()

    assert [(issue.op, issue.code) for issue in phone.client.issues()] == [
        ("delete", "scope_exit")
    ]


@pytest.mark.parametrize("vanish", ["hide", "delete"])
def test_pull_takes_no_edit_out_of_its_group(
    server: Any, phone: Any, row_id: str, vanish: str
) -> None:
    """The server refuses all of the group; without the edit it would take the rest."""
    with phone.client.group("visit-17"):
        phone["work_orders"].update(row_id, {"title": "Mine"})
        if vanish == "hide":
            server.hide("tess", "work_orders", row_id)
        else:
            server.delete("work_orders", row_id)
        phone.sync()
        other = phone["work_orders"].create({"title": "Of the same visit"})

    phone.sync()

    assert server.live("work_orders").keys() <= {row_id}
    assert {issue.row_id for issue in phone.client.issues()} == {row_id, other}
