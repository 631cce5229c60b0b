"""What mutations carry, judged against their serializers: shared by all threads of a process."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any
from uuid import UUID

from django.core.validators import MaxLengthValidator
from rest_framework import serializers

from sync import validation
from sync.types import Actor, Mutation, Op, Wire
from sync.wire import encode
from tests.crowd import at_once
from tests.phones import new_id

PHONE = Actor(tenant_id=UUID(int=1), user_id=UUID(int=2), device_id=UUID(int=3))
THREADS = 8
ROUNDS = 20


def mutation(op: Op, collection: str, index: int = 0, **data: Any) -> Mutation:
    return Mutation(index=index, op=op, collection=collection, id=new_id(), data=data)


def tasks(mark: str, count: int) -> list[Wire]:
    return [{"id": new_id(), "position": n, "text": f"{mark}-{n}"} for n in range(count, 0, -1)]


def rows_of(mark: str, number: int) -> list[Mutation]:
    """Return mutations that only one thread judges: plainly good, good, and wrong in many ways."""
    site, long = new_id(), f"{mark} ".strip() + "x" * 5_001
    order = {"kind": "repair", "site": site, "title": mark}
    answers = [{"id": new_id(), "item_code": mark, "value": "1"}, {"id": mark, "note": long}]
    given: list[tuple[Op, str, Wire]] = [
        (Op.CREATE, "work_orders", {**order, "tasks": tasks(mark, number)}),
        (Op.CREATE, "work_orders", {**order, "title": f" {mark} ", "tasks": tasks(mark, number)}),
        (Op.CREATE, "work_orders", {**order, "tasks": [{"id": mark, "text": ""}] * number}),
        (Op.CREATE, "notes", {"work_order": site, "text": long, mark: 1}),
        (Op.UPDATE, "work_orders", {"priority": number + 100, mark: mark}),
        (Op.UPDATE, "assets", {"attributes": {mark: number}, "installed_on": mark}),
        (Op.UPDATE, "inspections", {"answers": answers}),
        (Op.UPDATE, "inspections", {"answers": mark}),
    ]
    return [mutation(op, name, index, **data) for index, (op, name, data) in enumerate(given)]


def verdict(mutations: list[Mutation]) -> bytes:
    checked, refused = validation.judge(mutations, PHONE)
    return encode([checked, {str(index): refusal for index, refusal in refused.items()}])


def test_rows_that_many_threads_judge_at_once_are_not_mixed_up() -> None:
    """Each judge is made once and asked by all; none may remember whose row it looks at."""
    batches = [rows_of(f"thread{n}", n + 1) for n in range(THREADS)]
    alone = [verdict(batch) for batch in batches]
    validation._judge_of.cache_clear()  # so that they are made by many at once too

    def judge_often(batch: list[Mutation]) -> set[bytes]:
        return {verdict(batch) for _ in range(ROUNDS)}

    together = at_once([partial(judge_often, batch) for batch in batches])

    assert together == [{each} for each in alone]


def test_two_new_rows_share_nothing() -> None:
    """What one row is given afterwards must not show in the next one."""
    first, second = (
        validation.judge([mutation(Op.CREATE, "assets", site=new_id(), category="pump")], PHONE)[0][0]
        for _ in range(2)
    )  # fmt: skip

    first.data["attributes"]["loud"] = True

    assert second.data["attributes"] == {}


class Text(str):
    """A string that can be watched."""

    __slots__ = ("__weakref__",)


@contextmanager
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def test_value_that_a_validator_refused_is_gone_at_once() -> None:
    """Django's error holds the value in a circle: a crowd's refused pushes would add up."""
    validate = validation._Contained(MaxLengthValidator(3))

    def refuse() -> weakref.ref[Text]:
        value = Text("longer")
        with suppress(serializers.ValidationError):
            validate(value)
        return weakref.ref(value)

    with no_collector():
        assert refuse()() is None
