"""A push that had to be done again comes to the same as one that went through at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection

from sync.errors import NeedsCare
from sync.failpoints import Point
from sync.testing.failpoints import at
from tests.desk import kept, turn_on
from tests.phones import Phone, World, create, delete, make_world, new_id, update

INSIDE = [Point.CLAIMED, Point.LOCKED, Point.PLANNED, Point.APPLIED, Point.ANSWERED, Point.LOGGED]
DEADLOCK = "DO $$ BEGIN RAISE EXCEPTION 'deadlock' USING ERRCODE = '40P01'; END $$"


def give_up() -> None:
    """Let PostgreSQL end the transaction as it does with one of two that wait for each other."""
    with connection.cursor() as cursor:
        cursor.execute(DEADLOCK)


def ask_for_care() -> None:
    raise NeedsCare


@contextmanager
def once(point: Point, cause: Callable[[], None]) -> Iterator[list[Point]]:
    """The first try comes to `cause` at `point`; note that it did."""
    met: list[Point] = []

    def act() -> None:
        if not met:
            met.append(point)
            cause()

    with at(point, act):
        yield met


def answers_of(ids: list[str]) -> list[dict[str, Any]]:
    return [{"id": i, "item_code": f"item {n}", "value": "1"} for n, i in enumerate(ids)]


def visit(world: World, dora: Phone) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the ids of a visit, and a push with mutations of every kind that is to go wrong once.

    The rows that it edits are there already.
    """
    ids = sorted(new_id() for _ in range(12))
    order, asset, form, old, doomed, new, area, note, *children = ids
    dora.push(
        create("work_orders", old, **world.order()),
        create("work_orders", doomed, **world.order()),
        create("assets", asset, site=world.site, category="pump"),
        create(
            "inspections", form, asset=asset, template_code="t", answers=answers_of(children[:2])
        ),
    )
    tasks = [{"id": children[n], "position": 9 - n, "text": f"task {n}"} for n in range(3)]
    pushed = [
        create("notes", note, work_order=order, text="made before its order"),
        create("work_orders", order, **world.order(tasks=tasks)),
        update("work_orders", order, None, title="edited in the same push"),
        create("territories", area, name="Docks", parent=world.cardiff),
        update("work_orders", old, 1, title="edited", tasks=[]),
        update("inspections", form, 1, answers=[{"id": children[0], "deleted": True},
                                                {"id": children[1], "note": "wet"},
                                                *answers_of(children[2:])]),
        delete("work_orders", doomed, 1),
        create("work_orders", new, **world.order(title="")),
        create("notes", work_order=new, text="below a row that is refused"),
    ]  # fmt: skip
    return [*ids, str(pushed[-1]["id"])], pushed


def story(world: World, ids: list[str], results: Any, dora: Phone) -> str:
    """Return all that the push came to, without what differs from tenant to tenant."""
    dora.rows.clear()
    dora.cursor = None
    dora.pull()
    rows = [(name, row_id, row) for (name, row_id), row in dora.rows.items() if row_id in ids]
    parked = [(p["mutation"], p["refused"], p["code"], p["errors"]) for p in kept(dora)]
    text = json.dumps([results, sorted(rows, key=str), parked], sort_keys=True)
    named = [*ids, world.canary, world.cardiff, world.site, str(dora.user_id)]
    for position, name in enumerate([*named, *(p["id"] for p in kept(dora))]):
        text = text.replace(name, f"#{position}")
    return text


def push_in(slug: str, point: Point | None, cause: Callable[[], None]) -> str:
    """Return the story of one push, which goes wrong once at `point`."""
    world = turn_on(make_world(slug))
    dora = world.hire("dispatcher")
    ids, pushed = visit(world, dora)
    if point is None:
        return story(world, ids, dora.push(*pushed), dora)
    with once(point, cause) as met:
        results = dora.push(*pushed)
    assert met == [point]
    return story(world, ids, results, dora)


@pytest.mark.parametrize("cause", [give_up, ask_for_care])
def test_push_that_is_done_again_has_the_effect_of_one_that_is_not(
    transactional_db: None, cause: Callable[[], None]
) -> None:
    """The second try must not see what the first one made of the rows, nor leave a number out."""
    expected = push_in("smooth", None, cause)

    for point in INSIDE:
        assert push_in(f"bumpy-{point}", point, cause) == expected, point

    assert expected.count('"outcome": "quarantined"') == 2
