"""A push that fails at any of its named points leaves nothing behind, and can be sent again."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
from django.db import OperationalError

from backend.fieldwork.models import WorkOrder
from sync.failpoints import Point, arm
from sync.models import Receipt, Stream
from sync.testing.failpoints import at, held
from tests.crowd import at_once
from tests.phones import World, create


def fail() -> None:
    raise OperationalError


def test_a_push_comes_by_every_point_in_order(wales: World) -> None:
    """Who kills a server at a point must know what is done there and what is not."""
    seen: list[Point] = []

    with ExitStack() as stack:
        for point in Point:
            stack.enter_context(at(point, partial(seen.append, point)))
        wales.hire().push(create("work_orders", **wales.order()))

    assert seen == list(Point)


@pytest.mark.parametrize("point", Point)
def test_a_push_that_fails_can_be_sent_again(wales: World, point: Point) -> None:
    """Before COMMIT nothing is there, not even the key; after it, all of it is."""
    alice = wales.hire()
    body = {"mutations": [create("work_orders", **wales.order()) for _ in range(3)]}
    key = str(uuid.uuid4())
    head = Stream.objects.get(tenant_id=wales.tenant.pk).head
    rows = 3 if point is Point.COMMITTED else 0

    with at(point, fail):
        answer = alice.push_raw(body, key)

    assert (answer.status_code, answer["Retry-After"]) == (503, "2")
    assert WorkOrder.objects.filter(tenant_id=wales.tenant.pk).count() == rows
    assert Receipt.objects.filter(tenant_id=wales.tenant.pk).count() == (1 if rows else 0)
    assert Stream.objects.get(tenant_id=wales.tenant.pk).head == head + rows

    again = alice.push_raw(body, key)

    assert (again.status_code, "Idempotency-Replayed" in again) == (200, bool(rows))
    assert Stream.objects.get(tenant_id=wales.tenant.pk).head == head + 3


def test_a_twin_waits_for_the_first_that_has_not_committed(wales: World) -> None:
    """The first stands before COMMIT; its twin hears nothing until that is decided."""
    alice = wales.hire()
    body = {"mutations": [create("work_orders", **wales.order())]}

    with held(Point.LOGGED) as gate:

        def let_go() -> None:
            gate.wait_reached()
            assert not WorkOrder.objects.filter(tenant_id=wales.tenant.pk).exists()
            gate.open()

        push: Callable[[], Any] = partial(alice.push_raw, body, "k")
        first, second, _ = at_once([push, push, let_go])

    assert first.content == second.content
    assert {"Idempotency-Replayed" in first, "Idempotency-Replayed" in second} == {True, False}


def test_a_point_is_armed_by_one_test_only() -> None:
    """Two that arm the same point would see each other's faults."""
    with (
        at(Point.CLAIMED, fail),
        pytest.raises(ValueError, match="the failpoint claimed is armed already"),
    ):
        arm(Point.CLAIMED, fail)
