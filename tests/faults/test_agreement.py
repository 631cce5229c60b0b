"""The checker of these tests finds what it is there for: each planted contradiction is named."""

from __future__ import annotations

import pytest

from tests.faults.agreement import disagreements, snapshot
from tests.faults.sessions import asking, session
from tests.phones import World, create, new_id, update

PLANTED = {
    "a row whose version the log does not have": "UPDATE work_order SET version = version + 1",
    "the row and the log differ": "UPDATE work_order SET title = 'other'",
    "a field that is newer than its row": (
        "UPDATE work_order SET field_versions = jsonb_set(field_versions, '{title}', '9')"
    ),
    "another number than the log has": "DELETE FROM task WHERE position = 1",
    "a row without its entry in a scope": "DELETE FROM sync_entry WHERE collection = 'notes'",
    "an entry that no change explains": "DELETE FROM sync_change WHERE collection = 'notes'",
    "an entry with another digest than its change": "UPDATE sync_entry SET digest = digest # 1",
    "two changes with one seq": "UPDATE sync_change SET seq = 1 WHERE collection = 'notes'",
    "the head is not the newest seq": "UPDATE sync_stream SET head = head + 1",
    "a key without an answer": "UPDATE sync_request SET status = NULL",
}


@pytest.mark.parametrize("what", PLANTED)
def test_a_planted_contradiction_is_found(wales: World, what: str) -> None:
    """As it would be left by a crash between two transactions."""
    alice = wales.hire()
    tasks = [{"id": new_id(), "position": n, "text": "x"} for n in range(2)]
    order = create("work_orders", **wales.order(tasks=tasks))
    alice.push(order, create("notes", work_order=order["id"], text="rust"))
    alice.push(update("work_orders", order["id"], 1, title="Pump"))

    with session() as other:
        ask = asking(other)
        assert disagreements(ask, wales.tenant.pk) == []
        before = snapshot(ask, wales.tenant.pk)
        other.execute(PLANTED[what].encode())
        found = disagreements(ask, wales.tenant.pk)
        assert snapshot(ask, wales.tenant.pk) != before

    assert any(what in line for line in found), found
