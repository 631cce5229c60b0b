"""Which database a page is read from: the replica, as soon as it has what the phone needs."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import connections

from sync import read_replica
from tests.phones import PULL, Phone, World, create, delete, make_world
from tests.read_replica.pair import Pair, connected, pages_read, source_of, truth


def orders(count: int, world: World) -> list[dict[str, Any]]:
    return [create("work_orders", **world.order()) for _ in range(count)]


def test_pages_come_from_the_replica_that_is_current(
    pair: Pair, alice: Phone, dora: Phone, wales: World
) -> None:
    """That is what it is there for: the primary reads no page."""
    dora.push(*orders(20, wales))
    pair.replica.catch_up()

    with pages_read() as read:
        alice.pull(7)

    assert read == {"replica": 4}
    assert alice.rows == truth(alice)


def test_poll_with_nothing_new_asks_the_primary_only(
    pair: Pair, alice: Phone, wales: World
) -> None:
    """The head is the primary's; where it is the phone's own, there is nothing to read."""
    pair.replica.catch_up()
    alice.pull()
    queries = []

    def note(execute: Any, sql: str, *rest: Any) -> Any:
        queries.append(sql)
        return execute(sql, *rest)

    with connections["replica"].execute_wrapper(note):
        assert alice.pull() == []

    assert queries == []


def test_change_that_the_replica_has_not_is_told_by_the_primary(
    pair: Pair, alice: Phone, dora: Phone, wales: World
) -> None:
    """A poke is quicker than replication: the phone comes, and gets what it was told of."""
    pair.replica.catch_up()
    alice.pull()
    pair.replica.pause()
    (order,) = orders(1, wales)
    dora.push(order)

    with pages_read() as read:
        page = alice.pull_page()

    assert [change["id"] for change in page["changes"]] == [order["id"]]
    assert not page["has_more"]
    assert read["default"] == 1


def test_primary_tells_the_rest_of_a_page_that_the_replica_began(
    pair: Pair, alice: Phone, dora: Phone, wales: World
) -> None:
    """What both have comes from the replica; the page is whole, and the phone need not come twice."""
    alice.pull()
    before, since = orders(5, wales), orders(3, wales)
    dora.push(*before)
    pair.replica.catch_up()
    pair.replica.pause()
    dora.push(*since)

    with pages_read() as read:
        page = alice.pull_page()

    assert [change["id"] for change in page["changes"]] == [o["id"] for o in [*before, *since]]
    assert not page["has_more"]
    assert read == {"replica": 1, "default": 1}


def test_who_asks_is_looked_up_on_the_primary(pair: Pair, alice: Phone, wales: World) -> None:
    """A stolen phone is out at once, however far behind the replica is."""
    alice.pull()
    pair.replica.pause()
    pair.on_primary("UPDATE accounts_device SET revoked_at = now() WHERE id = %s", alice.device_id)

    answer = alice.send("GET", f"{PULL}?cursor={alice.cursor}")

    assert (answer.status_code, answer.json()["code"]) == (401, "device_revoked")


def test_tenant_that_the_replica_does_not_know_yet_pulls(pair: Pair) -> None:
    """Signed up a moment ago."""
    pair.replica.pause()
    world = make_world(f"new-{uuid.uuid4().hex[:8]}")
    phone = world.hire("dispatcher")

    phone.pull()

    assert {name for name, _ in phone.rows} == {"territories", "sites"}


def test_what_is_no_replica_is_not_read(pair: Pair, alice: Phone, wales: World) -> None:
    """Promoted, or a copy with a life of its own: it may have rows that never were."""
    with connected(pair.primary.url, pair.primary.url), pages_read() as read:
        alice.pull()

    assert read == {"default": 1, "replica": 1}, "it was asked, and said what it is"
    assert alice.rows == truth(alice)


def test_new_epoch_ends_what_the_replica_has(
    pair: Pair, alice: Phone, dora: Phone, wales: World
) -> None:
    """A restored primary has lost an order that the replica of before still shows."""
    (lost, kept) = orders(2, wales)
    dora.push(kept)
    dora.push(lost)
    pair.replica.catch_up()
    alice.pull()
    pair.replica.pause()
    for table in ("sync_entry", "sync_change"):
        pair.on_primary(f"DELETE FROM {table} WHERE row_id = %s", lost["id"])
    pair.on_primary(
        "UPDATE sync_stream SET epoch = gen_random_uuid() WHERE tenant_id = %s", wales.tenant.pk
    )

    answer = alice.send("GET", f"{PULL}?cursor={alice.cursor}")
    alice.cursor, alice.rows = None, {}
    alice.pull()

    assert (answer.status_code, answer.json()["code"]) == (410, "epoch_changed")
    assert ("work_orders", kept["id"]) in alice.rows
    assert ("work_orders", lost["id"]) not in alice.rows


def test_replica_ahead_of_the_primary_is_not_read(
    pair: Pair, alice: Phone, dora: Phone, wales: World
) -> None:
    """A failover lost the last commits; the other replica has them, and nobody noticed yet."""
    alice.pull()
    dora.push(*orders(3, wales))
    pair.replica.catch_up()
    pair.replica.pause()
    lost = "SELECT row_id FROM sync_change WHERE tenant_id = %s AND seq > 4"
    pair.on_primary(f"DELETE FROM sync_entry WHERE row_id IN ({lost})", wales.tenant.pk)
    pair.on_primary("DELETE FROM sync_change WHERE tenant_id = %s AND seq > 4", wales.tenant.pk)
    pair.on_primary("UPDATE sync_stream SET head = 4 WHERE tenant_id = %s", wales.tenant.pk)
    (order,) = orders(1, wales)
    dora.push(order)

    changes = alice.pull()

    assert [change["id"] for change in changes] == [order["id"]]


def test_replica_whose_tombstones_are_pruned_is_not_read(pair: Pair, wales: World) -> None:
    """It may have pruned what the primary, looked at a moment before, had not."""
    pair.on_primary("UPDATE sync_stream SET floor = 3 WHERE tenant_id = %s", wales.tenant.pk)
    pair.replica.catch_up()
    ask = "SELECT pg_is_in_recovery()"

    assert source_of(wales).fetch(ask, {}, place=3) == ([(True,)], 4)
    assert source_of(wales).fetch(ask, {}, place=2) == ([(False,)], None)


def test_page_is_not_begun_on_a_replica_that_is_behind(pair: Pair, wales: World) -> None:
    """It would be thrown away; this one would even fail."""
    pair.replica.catch_up()
    begun = "SELECT CASE WHEN pg_is_in_recovery() THEN 1 / (0 * random())::int ELSE 2 END"
    pair.replica.pause()
    pair.on_primary("UPDATE sync_stream SET head = head + 1 WHERE tenant_id = %s", wales.tenant.pk)

    assert source_of(wales).fetch(begun, {}, place=5) == ([(2,)], None)
    assert read_replica.rest.is_over(), "it did not fail"


def test_answer_of_no_rows_is_an_answer(pair: Pair, dora: Phone, wales: World) -> None:
    """A statement that finds nothing on the replica need not look on the primary."""
    pair.replica.catch_up()

    assert source_of(wales).fetch("SELECT 1 WHERE false", {}, place=4) == ([], 4)


def test_deleted_row_is_no_matter_of_the_replica(
    pair: Pair, alice: Phone, dora: Phone, wales: World
) -> None:
    """Writes go to the primary, also while the replica is behind."""
    (order,) = orders(1, wales)
    dora.push(order)
    pair.replica.pause()

    (result,) = dora.push(delete("work_orders", order["id"], 1))

    assert result["outcome"] == "deleted"


def test_digest_is_summed_up_on_the_replica_that_is_current(
    pair: Pair, alice: Phone, dora: Phone, wales: World
) -> None:
    """It reads all that a device holds; and it stands for a head, which the replica must have."""

    def digest() -> Any:
        found = alice.send("GET", f"/api/v1/sync/digest?cursor={alice.cursor}").json()
        found.pop("server_time")
        return found

    dora.push(*orders(5, wales))
    alice.pull()
    pair.replica.catch_up()
    with pages_read() as read:
        before = digest()
    assert read == {"replica": 1}
    pair.replica.pause()
    dora.push(*orders(1, wales))

    after = digest()

    counts = [each["collections"]["work_orders"]["count"] for each in (before, after)]
    assert counts == [5, 6]
    assert (before["behind"], after["behind"]) == (False, True)
