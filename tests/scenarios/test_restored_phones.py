"""A phone is restored from a backup, or its data is copied to another one: no harm is done."""

from __future__ import annotations

import dataclasses
import uuid
from typing import Any
from uuid import UUID

import pytest

from backend.accounts.models import Membership
from tests.phones import Phone, World, create, delete, update
from tests.scenarios.reading import outcomes, state_of

Sent = tuple[str, list[dict[str, Any]]]  # a key and what was pushed under it


def backup(phone: Phone) -> Phone:
    """Return what the phone is now: its cursor, its replica and who it says it is."""
    return dataclasses.replace(phone, rows=dict(phone.rows))


def fresh(phone: Phone) -> dict[Any, Any]:
    other = dataclasses.replace(phone, cursor=None, rows={})
    other.pull()
    return other.rows


@pytest.fixture
def orders(wales: World, dora: Phone) -> list[dict[str, Any]]:
    made = [create("work_orders", **wales.order()) for _ in range(4)]
    dora.push(*made)
    return made


def live_on(dora: Phone, wales: World, orders: list[dict[str, Any]]) -> None:
    """Edit a row, delete another, move the third away, and make a new one."""
    results = dora.push(
        update("work_orders", orders[0]["id"], 1, title=f"{wales.canary} edited"),
        delete("work_orders", orders[1]["id"], 1),
        update("work_orders", orders[2]["id"], 1, site=wales.other_site),
        create("work_orders", **wales.order()),
    )
    assert outcomes(results) == ["updated", "deleted", "updated", "created"]


@pytest.mark.parametrize("limit", [1, 3, 1_000])
def test_old_cursor_of_a_restored_phone_tells_what_happened_since(
    limit: int, alice: Phone, dora: Phone, wales: World, orders: list[dict[str, Any]]
) -> None:
    """It has read all that before; its backup has not. Each restored moment ends the same."""
    moments = [backup(alice)]
    alice.pull_page(2)
    moments.append(backup(alice))
    alice.pull()
    moments.append(backup(alice))
    live_on(dora, wales, orders)
    alice.pull()

    for restored in moments:
        restored.pull(limit)
        assert restored.rows == alice.rows == fresh(alice)


def test_phone_restored_from_before_it_was_reassigned_lets_go_as_well(
    alice: Phone, dora: Phone, wales: World, orders: list[dict[str, Any]]
) -> None:
    """Its cursor says with which scopes it had read, however long ago that was."""
    alice.pull()
    restored = backup(alice)
    Membership.objects.filter(user_id=alice.user_id).update(territories=[UUID(wales.newport)])
    alice.pull()
    live_on(dora, wales, orders)

    restored.pull(2)

    assert not {("work_orders", order["id"]) for order in orders[:2]} & restored.rows.keys()
    assert ("work_orders", orders[2]["id"]) in restored.rows
    assert restored.rows == fresh(alice)


def test_outbox_of_a_restored_phone_is_sent_again_and_changes_nothing(
    alice: Phone, wales: World, orders: list[dict[str, Any]]
) -> None:
    """Whether its batches have kept their keys, or are put together anew; then it goes on."""
    alice.pull()
    outbox = [
        create("work_orders", **wales.order()),
        update("work_orders", orders[0]["id"], 1, status="assigned"),
    ]
    first = alice.push(*outbox, key="kept")
    before = state_of(wales)

    again = alice.push(*outbox, key="kept")
    assert state_of(wales) == before
    anew = alice.push(*reversed(outbox), key=str(uuid.uuid4()))

    assert again == first
    assert outcomes(anew) == ["unchanged", "unchanged"]
    assert state_of(wales)[0] == before[0], "nothing more in the feed"
    later = update("work_orders", orders[0]["id"], 2, status="in_progress")
    assert outcomes(alice.push(later)) == ["updated"]


def test_clones_work_on_side_by_side(
    alice: Phone, dora: Phone, wales: World, orders: list[dict[str, Any]]
) -> None:
    """Two phones with one identity and one cursor: the server keeps nothing that they could spoil.

    `own` tells them apart as little as the server can: both must take what comes as it is.
    """
    alice.pull_page(2)
    clone = backup(alice)

    for phone, other in ((alice, clone), (clone, alice)):
        phone.pull_page(1)
        made = create("work_orders", **wales.order())
        assert outcomes(phone.push(made)) == ["created"]
        other.pull_page(2)
    live_on(dora, wales, orders)
    for phone in (alice, clone):
        phone.pull(2)

    assert alice.rows == clone.rows == fresh(alice)
