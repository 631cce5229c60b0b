"""Which database a page is read from, and that it makes no difference to a phone."""

from __future__ import annotations

from tests.phones import Phone, World, create
from tests.read_replica.pair import Pair, pages_read


def test_pages_come_from_the_replica_that_is_current(
    pair: Pair, alice: Phone, dora: Phone, wales: World
) -> None:
    """That is what it is there for: the primary reads no page."""
    dora.push(*(create("work_orders", **wales.order()) for _ in range(20)))
    pair.replica.catch_up()

    with pages_read() as read:
        alice.pull(7)

    assert read.keys() == {"replica"}
    assert read["replica"] >= 3
