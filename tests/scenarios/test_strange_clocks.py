"""Clocks of phones are days or years off: the order of things is the server's."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from django.utils.http import urlencode

from tests.phones import PULL, Phone, World, create, make_world, update

RIGHT = None
LONG_AGO, FAR_AHEAD = "1999-12-31T23:59:59Z", "2061-07-28T00:00:00Z"


class Clocked:
    """A phone that says with each request what time it takes it to be."""

    def __init__(self, phone: Phone, time: str | None) -> None:
        self.phone = phone
        self._headers = {"X-Client-Time": time} if time else {}
        self._cursor = ""

    def push(self, mutation: dict[str, Any]) -> tuple[str, int | None]:
        answer = self.phone.send(
            "POST", "/api/v1/sync/push",
            {"policy": "per_row", "mutations": [mutation]},
            **self._headers, **{"Idempotency-Key": mutation["id"] + str(next(_keys))},
        )  # fmt: skip
        assert answer.status_code in {200, 409}, answer.content
        (line,) = answer.json()["results"]
        return line["outcome"], line.get("version")

    def pull(self) -> list[tuple[Any, ...]]:
        """Pull to the end; return what came, without ids."""
        query = urlencode({"cursor": self._cursor})
        page = self.phone.send("GET", f"{PULL}?{query}", **self._headers).json()
        assert not page["has_more"]
        self._cursor = page["cursor"]
        return [
            (c["op"], c["collection"], c["version"], c["data"].get("title"))
            for c in page["changes"]
        ]


_keys = itertools.count()


def tell(world: World, alice: Clocked, bob: Clocked) -> list[Any]:
    """Two phones edit the same work order, each after the other's edit and against it."""
    order = create("work_orders", **world.order(title="first"))

    def edit(base: int, **data: Any) -> dict[str, Any]:
        return update("work_orders", order["id"], base, **data)

    return [
        alice.push(order),
        bob.pull()[-1],
        bob.push(edit(1, title="second")),
        alice.push(edit(1, title="against it")),
        alice.pull()[-1],
        alice.push(edit(2, title="third")),
        bob.push(edit(2, priority=1)),
        bob.pull(),
        alice.pull(),
    ]


@pytest.mark.parametrize(
    ("of_alice", "of_bob"), [(LONG_AGO, FAR_AHEAD), (FAR_AHEAD, LONG_AGO), (FAR_AHEAD, RIGHT)]
)
def test_phones_whose_clocks_are_years_off_end_as_those_whose_are_right(
    of_alice: str | None, of_bob: str | None, wales: World
) -> None:
    """Outcomes, versions, conflicts and the order of the feed: nothing depends on what they say."""
    right = make_world("right")

    expected = tell(right, Clocked(right.hire(), RIGHT), Clocked(right.hire(), RIGHT))
    told = tell(wales, Clocked(wales.hire(), of_alice), Clocked(wales.hire(), of_bob))

    assert told == expected
    assert ("conflict", 2) in told
