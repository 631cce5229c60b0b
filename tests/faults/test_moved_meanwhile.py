"""A row leaves somebody's scopes while their push about it is under way: one of them comes first.

The move is committed between the push's look at the rows and its turn at the stream. The push
must come out as if it had begun behind the move: what it made would be told to nobody else, and
its phone would wait for it for ever.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sync.failpoints import Point
from sync.testing.failpoints import at
from tests.crowd import at_once
from tests.phones import World, create, new_id, update


@contextmanager
def in_the_middle(work: Callable[[], object]) -> Iterator[None]:
    """Have `work` done by somebody else when the next push has written its rows, once."""
    turns = itertools.count()

    def once() -> None:
        if next(turns) == 0:
            at_once([work])

    with at(Point.APPLIED, once):
        yield


def test_note_about_an_order_that_leaves_meanwhile_is_refused(wales: World) -> None:
    """Its author would never be told of it: neither that it is there nor that it has left."""
    dora, tess = wales.hire("dispatcher"), wales.hire()
    order = new_id()
    dora.push(create("work_orders", order, **wales.order()))
    tess.pull()

    def move() -> None:
        dora.push(update("work_orders", order, 1, site=wales.other_site))

    with in_the_middle(move):
        (result,) = tess.push(create("notes", work_order=order, text=wales.canary))

    assert result["outcome"] == "dependency_failed"
    assert [line["op"] for line in tess.pull()] == ["scope_exit"]


def test_edit_of_an_order_whose_site_leaves_meanwhile_is_refused(wales: World) -> None:
    """The order's own lock does not keep its site where it is."""
    dora, tess = wales.hire("dispatcher"), wales.hire()
    order = new_id()
    dora.push(create("work_orders", order, **wales.order()))
    tess.pull()

    def move() -> None:
        (moved,) = dora.push(update("sites", wales.site, 1, territory=wales.newport))
        assert moved["outcome"] == "updated"

    with in_the_middle(move):
        (result,) = tess.push(update("work_orders", order, 1, title=f"{wales.canary} late"))

    assert result["outcome"] == "not_found"
    assert wales.hire("dispatcher").pull()[-1]["version"] == 1


def test_note_about_an_order_that_comes_meanwhile_is_taken(wales: World) -> None:
    """Refused on a look of before, it would be refused for a reason that is not there any more."""
    dora, tess = wales.hire("dispatcher"), wales.hire()
    order, other = new_id(), new_id()
    dora.push(
        create("work_orders", order, **wales.order(site=wales.other_site)),
        create("work_orders", other, **wales.order()),
    )

    def move() -> None:
        dora.push(update("work_orders", order, 1, site=wales.site))

    with in_the_middle(move):
        results = tess.push(
            create("notes", work_order=order, text=wales.canary),
            update("work_orders", other, 1, title=f"{wales.canary} again"),
        )

    assert [result["outcome"] for result in results] == ["created", "updated"]
