"""A transaction stays open elsewhere in the database: the feed does not wait for it.

A feed that is bounded by the oldest transaction that is still running, as one by transaction ids
is, stands still for as long as somebody's session sits idle: for the whole database, whoever it
is and whatever they wrote. Ours is bounded by its tenant's head alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sync.failpoints import Point
from sync.testing.failpoints import held
from tests.crowd import at_once
from tests.faults.sessions import Session, session
from tests.phones import Phone, World, create, make_world, update


@pytest.fixture
def northwind(transactional_db: None) -> World:
    return make_world("northwind")


# What a session has done that now sits idle: an export's snapshot; a name that was changed in a
# table that does not sync; rows of the same tenant and of another, past the engine.
IDLE = {
    "a snapshot": (
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "SELECT count(*) FROM sync_change",
    ),
    "another table": ("UPDATE accounts_tenant SET name = 'New name'",),
    "rows of both tenants": (
        "UPDATE site SET customer = 'C' WHERE name LIKE '% B'",
        "UPDATE sync_entry SET bucket = bucket WHERE collection = 'territories'",
    ),
}


@contextmanager
def sitting_idle(what: str) -> Iterator[Session]:
    """Do something in a transaction that stays open during the block; it has a number of its own."""
    with session() as other:
        for statement in IDLE[what]:
            other.execute(statement.encode())
        other.execute("SELECT pg_current_xact_id()")
        yield other


def sync_back_and_forth(alice: Phone, bob: Phone, wales: World) -> None:
    """Work goes from one phone to the other, and an edit of it back; a new phone has it all."""
    order = create("work_orders", **wales.order())
    assert alice.push(order)[0]["outcome"] == "created"
    bob.pull()
    assert bob.version("work_orders", order["id"]) == 1
    edit = update("work_orders", order["id"], 1, title=f"{wales.canary} again")
    assert bob.push(edit)[0]["outcome"] == "updated"
    for phone in (alice, bob):
        phone.pull()
    assert alice.version("work_orders", order["id"]) == 2
    assert alice.rows == bob.rows
    newcomer = wales.hire()
    newcomer.pull()
    assert newcomer.rows == alice.rows


@pytest.mark.parametrize("what", IDLE)
def test_feed_goes_on_beside_a_transaction_that_sits_idle(
    what: str, wales: World, northwind: World
) -> None:
    """Everything that is committed is served while it is open, and after it has come to its end."""
    alice, bob = wales.hire(), wales.hire()
    for phone in (alice, bob):
        phone.pull()

    with sitting_idle(what):
        sync_back_and_forth(alice, bob, wales)
    sync_back_and_forth(alice, bob, wales)


def test_feed_goes_on_beside_a_push_of_another_tenant_that_is_about_to_commit(
    wales: World, northwind: World
) -> None:
    """It holds its own tenant's stream, and nobody else's."""
    alice, bob, nina = wales.hire(), wales.hire(), northwind.hire()
    late = create("work_orders", **northwind.order())

    with held(Point.LOGGED) as gate:

        def push_meanwhile() -> bool:
            gate.wait_reached()
            try:
                sync_back_and_forth(alice, bob, wales)
            finally:
                gate.open()
            return True

        at_once([push_meanwhile, lambda: bool(nina.push(late))])

    nina.pull()
    assert ("work_orders", late["id"]) in nina.rows


def test_pull_goes_on_beside_a_push_of_its_own_tenant_that_is_about_to_commit(
    wales: World,
) -> None:
    """It is not to be seen yet, and nobody waits for it; afterwards the next pull brings it."""
    alice, bob = wales.hire(), wales.hire()
    early, late = create("work_orders", **wales.order()), create("work_orders", **wales.order())
    alice.push(early)

    with held(Point.LOGGED) as gate:

        def pull_meanwhile() -> bool:
            gate.wait_reached()
            try:
                bob.pull()
            finally:
                gate.open()
            assert ("work_orders", early["id"]) in bob.rows
            assert ("work_orders", late["id"]) not in bob.rows
            return True

        at_once([pull_meanwhile, lambda: bool(alice.push(late))])

    bob.pull()
    assert ("work_orders", late["id"]) in bob.rows
