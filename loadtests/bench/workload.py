"""What is pushed: bodies of realistic work orders, made before any clock runs.

A stored row is about 440 bytes of JSON with 12 fields. Texts, references and times vary, so that
nothing in between can profit from rows that are all alike.
"""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Iterator, Sequence
from typing import Any, Final

from sync.ids import uuid7

KINDS: Final = ("repair", "inspection", "install")
VERBS: Final = ("Replace", "Inspect", "Repair", "Clean", "Install", "Adjust", "Test", "Reseal")
THINGS: Final = (
    "pump seal", "boiler valve", "fan belt", "smoke detector", "door closer", "heat exchanger",
    "circuit breaker", "roof gutter", "lift motor", "water meter", "fire door", "control panel",
)  # fmt: skip
PLACES: Final = ("plant room", "basement", "second floor", "roof", "kitchen", "café Môr", "hall B")
REMARKS: Final = (
    "The caretaker has the key; ring twice.", "Fails since Monday, noise at start.",
    "Spare part is in the van.", "Take photos before and after.", "Isolate the supply first.",
    "Second visit, see the last report.", "Access only before 10:00.", "Tenant was told.",
)  # fmt: skip
ASSIGNED_EVERY, ASSET_EVERY = 4, 2  # one row in so many names an assignee, an asset


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """A device that pushes, and the rows that its own may refer to."""

    tenant: str
    user: str
    device: str
    token: str
    territory: str
    sites: Sequence[str]
    assets: Sequence[str]  # the n-th is at the n-th site


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One push: its key, its bytes, and what must come of every row in it."""

    key: str
    body: bytes
    rows: int
    outcome: str
    version: int


def work_order(sender: Sender, rng: random.Random, n: int) -> dict[str, Any]:
    """Return what a device sends of a new work order: every field that is not the server's."""
    place = rng.randrange(len(sender.sites))
    remarks = rng.sample(REMARKS, 2)
    return {
        "kind": rng.choice(KINDS),
        "status": rng.choice(("open", "in_progress")),
        "priority": rng.randint(1, 4),
        "site": sender.sites[place],
        "asset": sender.assets[place] if n % ASSET_EVERY else None,
        "assignee": None if n % ASSIGNED_EVERY else sender.user,
        "title": f"{rng.choice(VERBS)} the {rng.choice(THINGS)}, {rng.choice(PLACES)}",
        "description": " ".join(remarks),
        "due_at": f"2027-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}T{n % 24:02d}:30:00Z",
        "completed_at": None,
        "tasks": [],
    }


def creates(
    sender: Sender, rng: random.Random, *, ids: Sequence[str], batch_rows: int
) -> list[Batch]:
    """Return the pushes that create rows with these ids."""
    return [
        _batch(
            [
                {
                    "op": "create",
                    "collection": "work_orders",
                    "id": row_id,
                    "data": work_order(sender, rng, n),
                }
                for n, row_id in enumerate(part)
            ],
            outcome="created",
            version=1,
        )
        for part in _parts(ids, batch_rows)
    ]


def updates(rng: random.Random, *, ids: Sequence[str], batch_rows: int) -> list[Batch]:
    """Return the pushes that edit two fields of each of these rows, which are at version 1."""
    return [
        _batch(
            [
                {
                    "op": "update",
                    "collection": "work_orders",
                    "id": row_id,
                    "base_version": 1,
                    "data": {
                        "title": f"{rng.choice(VERBS)} the {rng.choice(THINGS)}, again",
                        "priority": 5,
                    },
                }
                for row_id in part
            ],
            outcome="updated",
            version=2,
        )
        for part in _parts(ids, batch_rows)
    ]


def new_ids(count: int) -> list[str]:
    """Return ids as a device makes them."""
    return [str(uuid7()) for _ in range(count)]


def _batch(mutations: list[dict[str, Any]], *, outcome: str, version: int) -> Batch:
    body = json.dumps({"policy": "per_row", "mutations": mutations}, ensure_ascii=False).encode()
    return Batch(
        key=str(uuid7()), body=body, rows=len(mutations), outcome=outcome, version=version
    )


def _parts(ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), size):
        yield ids[start : start + size]
