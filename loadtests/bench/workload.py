"""What is pushed: bodies of realistic work orders, made before any clock runs.

A stored row is about 437 bytes of JSON with 12 fields. Texts, references and times vary, so that
nothing on the way profits from rows that are all alike.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Generator, Iterator, Sequence
from typing import Any, Final

import msgspec

from loadtests.bench.exchange import Answer, Request
from sync.ids import uuid7

PATH: Final = "/api/v1/sync/push"
OK: Final = 200
KINDS: Final = ("repair", "inspection", "install")
VERBS: Final = ("Replace", "Inspect", "Repair", "Clean", "Install", "Adjust", "Test", "Reseal")
THINGS: Final = (
    *("pump seal", "boiler valve", "fan belt", "smoke detector", "door closer", "lift motor"),
    *("circuit breaker", "roof gutter", "water meter", "fire door", "heat exchanger"),
)
PLACES: Final = ("plant room", "basement", "second floor", "roof", "kitchen", "café Môr", "hall B")
REMARKS: Final = (
    *("The caretaker has the key; ring twice.", "Fails since Monday, noise at start."),
    *("Spare part is in the van.", "Take photos before and after.", "Isolate the supply first."),
    *("Second visit, see the last report.", "Access only before 10:00.", "Tenant was told."),
)
PRIORITY_MADE_MAX, PRIORITY_EDITED = 4, 5  # so that every edit changes something
ASSIGNED_EVERY, ASSET_EVERY = 4, 2  # one row in so many names an assignee, an asset
ANSWER_SHOWN_MAX = 500  # bytes


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """A device, the territories that its user holds, and the rows that its own may refer to."""

    tenant: str
    user: str
    device: str
    token: str
    territories: Sequence[str]
    sites: Sequence[str]  # all in the first territory
    assets: Sequence[str]  # the n-th is at the n-th site

    @property
    def territory(self) -> str:
        """The territory of what it creates."""
        return self.territories[0]

    @property
    def scopes(self) -> list[str]:
        """The scopes that it holds."""
        of_territories = (f"territory:{territory}" for territory in self.territories)
        return ["tenant", f"user:{self.user}", *of_territories]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One push: its key, its bytes, and what must come of every row in it."""

    key: str
    body: bytes
    rows: int
    outcome: str
    version: int

    @property
    def units(self) -> int:
        """The rows."""
        return self.rows

    def exchange(self) -> Generator[Request, Answer, None]:
        """Yield the push."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": self.key}
        yield Request(method="POST", target=PATH, headers=headers, body=self.body)

    def find_failure(self, answers: Sequence[Answer]) -> str | None:
        """Return what is wrong with the answer; None if every row came to what it had to."""
        (answer,) = answers
        if answer.status != OK:
            return f"a push was answered {answer.status}: {answer.body[:ANSWER_SHOWN_MAX]!r}"
        results = msgspec.json.decode(answer.body)["results"]
        wanted = {"outcome": self.outcome, "version": self.version}
        for line in results:
            if not wanted.items() <= line.items():
                return f"a row came to {line} instead of {wanted}"
        if [line["index"] for line in results] != list(range(self.rows)):
            return f"there are {len(results)} results for {self.rows} rows"
        return None


def creates(
    sender: Sender, rng: random.Random, *, ids: Sequence[str], batch_rows: int
) -> list[Batch]:
    """Return the pushes that create rows with these ids."""
    mutations = [
        {
            "op": "create",
            "collection": "work_orders",
            "id": row_id,
            "data": work_order(sender, rng, n),
        }
        for n, row_id in enumerate(ids)
    ]
    return [_batch(part, "created", version=1) for part in _parts(mutations, batch_rows)]


def updates(rng: random.Random, *, ids: Sequence[str], batch_rows: int) -> list[Batch]:
    """Return the pushes that edit two fields of each of these rows, which are at version 1."""
    mutations = [
        {
            "op": "update",
            "collection": "work_orders",
            "id": row_id,
            "base_version": 1,
            "data": {"title": f"{_title(rng)}, again", "priority": PRIORITY_EDITED},
        }
        for row_id in ids
    ]
    return [_batch(part, "updated", version=2) for part in _parts(mutations, batch_rows)]


def work_order(sender: Sender, rng: random.Random, n: int) -> dict[str, Any]:
    """Return what a device sends of its n-th work order: every field that is not the server's."""
    place = rng.randrange(len(sender.sites))
    return {
        "kind": rng.choice(KINDS),
        "status": rng.choice(("open", "in_progress")),
        "priority": rng.randint(1, PRIORITY_MADE_MAX),
        "site": sender.sites[place],
        "asset": None if n % ASSET_EVERY else sender.assets[place],
        "assignee": None if n % ASSIGNED_EVERY else sender.user,
        "title": f"{_title(rng)}, {rng.choice(PLACES)}",
        "description": " ".join(rng.sample(REMARKS, 5)),
        "due_at": f"2027-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}T{n % 24:02d}:30:00Z",
        "completed_at": None,
        "tasks": [],
    }


def new_ids(count: int) -> list[str]:
    """Return ids as a device makes them."""
    return [str(uuid7()) for _ in range(count)]


def _title(rng: random.Random) -> str:
    return f"{rng.choice(VERBS)} the {rng.choice(THINGS)}"


def _batch(mutations: Sequence[dict[str, Any]], outcome: str, *, version: int) -> Batch:
    body = msgspec.json.encode({"policy": "per_row", "mutations": mutations})
    return Batch(
        key=str(uuid7()), body=body, rows=len(mutations), outcome=outcome, version=version
    )


def _parts(mutations: Sequence[dict[str, Any]], size: int) -> Iterator[Sequence[dict[str, Any]]]:
    for start in range(0, len(mutations), size):
        yield mutations[start : start + size]
