"""The server is restored from a backup: phones give back what it has forgotten."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest


def test_phones_give_back_what_was_acked_and_never_seen(
    server: Any, phone: Any, second: Any
) -> None:
    """Scenario 18: an ack is not an echo; what is nowhere else is pushed again, deletes too."""
    orders = phone["work_orders"]
    for name in "abc":
        orders.create({"title": name}, id=name)
    phone.sync()
    second.sync()
    backup = server.backup()
    orders.update("a", {"title": "acked"})
    orders.delete("b")
    orders.create({"title": "acked, too"}, id="d")
    phone.push()
    orders.update("c", {"title": "never sent"})
    second["work_orders"].create({"title": "the other's"}, id="e")
    second.push()
    assert (phone.client.status().acked_unseen, second.client.status().acked_unseen) == (3, 1)

    server.restore(backup)
    for each in (phone, second, phone, second):
        each.sync()

    titles = {row_id: row["title"] for row_id, row in server.live("work_orders").items()}
    assert titles == {"a": "acked", "c": "never sent", "d": "acked, too", "e": "the other's"}
    for each in (phone, second):
        assert each.view("work_orders") == server.live("work_orders")
        status = each.client.status()
        assert (status.pending, status.sent, status.acked_unseen, status.issues) == (0, 0, 0, 0)


def test_what_had_been_seen_is_given_back_and_an_edit_sent_too_early_is_shown(
    server: Any, phone: Any
) -> None:
    """Scenario 18: a row that was pulled is no proof either. The push comes before the pull."""
    phone.sync()
    backup = server.backup()
    phone["work_orders"].create({"title": "seen"}, id="a")
    phone.sync()
    server.restore(backup)
    phone["work_orders"].update("a", {"title": "edited since"})

    phone.sync()

    assert titles(server) == {"a": "seen"}
    (issue,) = phone.client.issues()
    assert (issue.outcome, issue.mine) == ("not_found", {"title": "edited since"})
    assert issue.base["title"] == "seen"
    issue.retry()
    phone.sync()
    assert titles(server) == {"a": "edited since"}
    assert phone.view("work_orders") == server.live("work_orders")


def test_everything_that_was_acknowledged_comes_back(server: Any, phone: Any, second: Any) -> None:
    """Scenario 18: creates, edits upon edits, deletes; seen by others, too, who send them not."""
    orders = phone["work_orders"]
    for name in "abc":
        orders.create({"title": name}, id=name)
    phone.sync()
    backup = server.backup()
    for title in ("first", "second"):
        orders.update("a", {"title": title})
        phone.sync()
    orders.delete("b")
    orders.create({"title": "new"}, id="d")
    phone.sync()
    orders.update("d", {"title": "new, edited"})
    phone.sync()
    second.sync()
    assert phone.client.status().acked_unseen == 0

    server.restore(backup)
    for each in (second, phone, second):
        each.sync()

    assert titles(server) == {"a": "second", "c": "c", "d": "new, edited"}
    for each in (phone, second):
        assert each.view("work_orders") == server.live("work_orders")
        status = each.client.status()
        assert (status.pending, status.sent, status.acked_unseen, status.issues) == (0, 0, 0, 0)


def test_what_the_backup_has_is_not_sent_again(server: Any, phone: Any, second: Any) -> None:
    """Neither over what others made of it since, nor back to life, nor out of another's scope."""
    orders = phone["work_orders"]
    for name in "abcd":
        orders.create({"title": name}, id=name)
    phone.sync()
    second.sync()
    second["work_orders"].update("a", {"title": "the other's"})
    second["work_orders"].delete("b")
    second.sync()
    server.hide("tess", "work_orders", "c")
    phone.sync()
    backup = server.backup()

    server.restore(backup)
    for each in (phone, second, phone):
        each.sync()

    assert titles(server) == {"a": "the other's", "c": "c", "d": "d"}
    assert set(phone.view("work_orders")) == {"a", "d"}
    assert phone.client.issues() == []


def test_work_on_a_row_that_was_lost_waits_for_the_row(server: Any, phone: Any) -> None:
    """What was made when the pull had told of the restore goes behind what it stands on."""
    phone.sync()
    backup = server.backup()
    phone["work_orders"].create({"title": "seen"}, id="a")
    phone.sync()
    server.restore(backup)

    def edit_when_told(path: str) -> None:
        if path == "sync/pull":
            server.before_answer = lambda path: None
            phone["work_orders"].update("a", {"title": "edited since"})

    server.before_answer = edit_when_told
    phone.sync()
    phone.sync()

    assert titles(server) == {"a": "edited since"}
    assert phone.client.issues() == []
    assert phone.view("work_orders") == server.live("work_orders")


def test_what_is_kept_for_a_restore_is_bounded(
    server: Any, phone: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A phone is no archive: after a week nobody restores a backup any more."""
    phone["work_orders"].create({"title": "old"}, id="a")
    phone.sync()
    assert kept(phone) == 1

    monkeypatch.setattr("fieldsync.echoes.KEPT", timedelta(seconds=-1))
    phone["work_orders"].create({"title": "young"}, id="b")
    phone.sync()

    assert kept(phone) == 0


def titles(server: Any) -> dict[str, str]:
    return {row_id: row["title"] for row_id, row in server.live("work_orders").items()}


def kept(phone: Any) -> int:
    store = phone.client._engine.local.store
    return int(store.writer.value("SELECT count(*) FROM echoed"))


def test_edit_is_given_back_where_another_has_taken_its_version(
    server: Any, phone: Any, second: Any
) -> None:
    """Versions count from the backup on: the same number need not be the same edit."""
    row_id = phone["work_orders"].create({"title": "first", "notes": "none"})
    phone.sync()
    second.sync()
    backup = server.backup()
    phone["work_orders"].update(row_id, {"title": "mine"})
    phone.sync()
    server.restore(backup)
    second["work_orders"].update(row_id, {"title": "theirs"})
    second.sync()

    phone.sync()

    (issue,) = phone.client.issues()
    assert (issue.outcome, issue.mine) == ("conflict", {"title": "mine"})
    assert phone["work_orders"].get(row_id).data["title"] == "theirs"
