"""A history: what people did on their devices, what they were told, and what the database says.

Written down while it happens by whoever does it; read by `laws` when all is quiet. Each value is
written once in a history, so that a value found in a field says whose edit it was.
"""

from __future__ import annotations

import dataclasses
from typing import Any
from uuid import UUID

Name = tuple[str, str]  # collection, id of the row
ORDERS, NOTES = "work_orders", "notes"
FIELDS = ("title", "description")  # what people write into work orders
TEXTS = {ORDERS: FIELDS, NOTES: ("text",)}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A value that somebody wrote into a field, and must find again."""

    device: int
    name: Name
    field: str
    value: str

    @property
    def place(self) -> tuple[int, Name, str]:
        """Where it was written: a later value in the same place counts instead."""
        return self.device, self.name, self.field


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """A row that somebody deleted, as they saw it."""

    device: int
    name: Name
    view: dict[str, str]


@dataclasses.dataclass(slots=True, kw_only=True)
class Visit:
    """What was written as one group: (row, field, value)."""

    members: list[tuple[Name, str, str]] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A request of a device, and its answer; bodies as their hashes, `strangers` is what is wrong.

    `status` is 0 and `answer` empty where no whole answer came.
    """

    device: int
    path: str
    key: str
    body: str
    status: int
    answer: str
    is_replay: bool
    has_retry_after: bool
    strangers: frozenset[str]  # other tenants' canaries in the answer


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What a replica held at the end of a sync: versions by row, at a place in the feed."""

    device: int
    epoch: bytes
    seq: int
    at: float  # seconds since 1970, as in `Committed`
    versions: dict[Name, int]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """A change that the database has committed, in the tenant's one order; written `at`."""

    seq: int
    at: float
    name: Name
    op: str
    version: int
    data: dict[str, Any]  # empty for a delete
    device_id: UUID | None
    transaction: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """A device in the end: what it holds, what it shows, and what still waits in it."""

    rows: dict[Name, int]
    view: dict[Name, dict[str, Any]]
    unsent: int
    issues: list[tuple[Name, str, dict[str, Any]]]  # row, op, the values that were to be written


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who uses a device, and which territories they see; none for all."""

    username: str
    role: str
    territories: tuple[str, ...]

    def sees(self, territory: str | None) -> bool:
        """Whether rows there are theirs to see."""
        return not self.territories or territory in self.territories


@dataclasses.dataclass(slots=True, kw_only=True)
class History:
    """Everything about one tenant, from its first row to its peace."""

    number: int
    seed: str
    canary: str
    tenant_id: UUID
    sites: dict[str, str]  # site -> territory
    people: list[Person]  # by device
    disaster: str = ""
    is_restored: bool = False
    written: list[Written] = dataclasses.field(default_factory=list)
    deleted: list[Deleted] = dataclasses.field(default_factory=list)
    visits: list[Visit] = dataclasses.field(default_factory=list)
    seen: dict[str, set[str]] = dataclasses.field(default_factory=dict)
    chosen: set[str] = dataclasses.field(default_factory=set)  # that a person wanted once more
    given_up: set[str] = dataclasses.field(default_factory=set)  # that a person discarded
    exchanges: list[Exchange] = dataclasses.field(default_factory=list)
    sights: list[Sight] = dataclasses.field(default_factory=list)
    replicas: list[Replica] = dataclasses.field(default_factory=list)
    committed: list[Committed] = dataclasses.field(default_factory=list)
    forgotten: list[Committed] = dataclasses.field(default_factory=list)  # by a restore
    receipts: dict[str, str] = dataclasses.field(default_factory=dict)  # key -> hash of the answer
    epoch: bytes = b""
    disagreements: list[str] = dataclasses.field(default_factory=list)
    drained_s: float = 0.0  # from the healing to the last empty outbox
    accidents: list[str] = dataclasses.field(default_factory=list)  # what nobody expected
