"""A phone is restored from a backup, or its store is copied to another one: no harm is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mortal import MortalPhone

from fieldsync.testing import Fault


@pytest.fixture
def old(server: Any, tmp_path: Path) -> Any:
    """A phone that was backed up with a batch on its way and an edit that waits, then went on."""
    phone = MortalPhone(server, tmp_path / "phone.db")
    phone.login()
    orders = phone["work_orders"]
    for name in "abc":
        orders.create({"title": name}, id=name)
    phone.sync()
    orders.update("a", {"title": "sent"})
    server.faults.extend([None, *[Fault.CUT_BEFORE] * 9])
    phone.sync_until(0, is_answered=True)
    server.faults.clear()
    orders = phone["work_orders"]
    orders.update("b", {"title": "waits"})
    phone.save()
    phone.sync()
    orders.update("c", {"title": "made since"})
    orders.delete("b")
    server.edit("work_orders", "a", note="theirs")
    phone.sync()
    yield phone
    phone.client.close()


def test_restored_phone_sends_its_old_work_again_and_nothing_happens(
    server: Any, old: Any
) -> None:
    """Scenario 17: the batch is answered as before; the edit is known, or is asked about."""
    before = server.live("work_orders")
    applied = len(server.applied)

    old.start_on(old.backup.path)
    report = old.sync()
    old.sync()

    assert report.replays == 1
    assert (server.live("work_orders"), len(server.applied)) == (before, applied)
    assert old.view("work_orders") == before
    (issue,) = old.client.issues()  # `b` was deleted meanwhile, by itself as it was
    assert (issue.row_id, issue.outcome, issue.mine) == ("b", "gone", {"title": "waits"})


def test_cloned_phones_work_on_side_by_side(server: Any, old: Any, tmp_path: Path) -> None:
    """Scenario 17: two phones that take themselves for one: all work of both arrives, once."""
    clone = MortalPhone(server, old.backup.path)
    clone["work_orders"].update("c", {"note": "by the clone"})
    clone["work_orders"].create({"title": "clone's"}, id="d")
    old["work_orders"].create({"title": "old's"}, id="e")

    for phone in (clone, old, clone, old):
        phone.sync()

    rows = server.live("work_orders")
    assert {rows["a"]["title"], rows["d"]["title"], rows["e"]["title"]} == {
        "sent",
        "clone's",
        "old's",
    }
    assert (rows["c"]["title"], rows["c"]["note"]) == ("made since", "by the clone")
    assert old.view("work_orders") == clone.view("work_orders") == rows
    assert [issue.row_id for issue in clone.client.issues()] == ["b"]
    clone.client.close()
