"""The server is restored from a backup: phones give back what it has forgotten."""

from __future__ import annotations

from typing import Any


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


def test_rows_that_the_restored_server_never_had_leave_and_edits_of_them_are_shown(
    server: Any, phone: Any
) -> None:
    """Scenario 18: what had been pulled before the restore is the server's loss, and is said."""
    phone.sync()
    backup = server.backup()
    phone["work_orders"].create({"title": "seen"}, id="a")
    phone.sync()
    server.restore(backup)
    phone["work_orders"].update("a", {"title": "edited since"})

    phone.sync()

    assert (phone.view("work_orders"), server.live("work_orders")) == ({}, {})
    (issue,) = phone.client.issues()
    assert (issue.outcome, issue.mine) == ("not_found", {"title": "edited since"})
    assert issue.base["title"] == "seen"
