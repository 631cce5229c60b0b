"""The words of the protocol as types: what every other module passes around.

    Mutation --(validate, plan)--> Result      what a push asked for, and what became of it
    RowState --(plan)--> Write --> Change      what a row is, how it is to be, what the feed says

Values of a row travel in *wire form* everywhere inside the engine: the JSON value exactly as it
goes over HTTP (ids, decimals and times are strings). Two rows are equal when their wire forms are.

What there is one of per row is a msgspec struct: made in a tenth of a frozen dataclass's time.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

Wire = dict[str, Any]  # one row's fields in wire form, nested children as lists of the same


class Op(enum.StrEnum):
    """What a mutation does to its row."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


class Policy(enum.StrEnum):
    """What stands or falls together in a push."""

    ALL_OR_NOTHING = "all_or_nothing"
    PER_ROW = "per_row"


class NestedPolicy(enum.StrEnum):
    """What the list of children in an update means."""

    REPLACE = "replace"  # it is the new list
    MERGE_BY_ID = "merge_by_id"  # each item edits, adds or removes the child of its id


class ConflictPolicy(enum.StrEnum):
    """What an edit on an old base version becomes; a collection may give a callable instead."""

    REJECT = "reject"
    MERGE_FIELDS = "merge_fields"


class Outcome(enum.StrEnum):
    """What became of one mutation; final for its push."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"
    MERGED = "merged"
    UNCHANGED = "unchanged"
    CONFLICT = "conflict"
    GONE = "gone"
    INVALID = "invalid"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    DEPENDENCY_FAILED = "dependency_failed"
    NOT_APPLIED = "not_applied"
    QUARANTINED = "quarantined"  # only in a report: refused, and kept; see `Result`

    @property
    def is_applied(self) -> bool:
        """Whether the server now holds what the mutation asked for."""
        return self in APPLIED


APPLIED = frozenset(
    {Outcome.CREATED, Outcome.UPDATED, Outcome.DELETED, Outcome.MERGED, Outcome.UNCHANGED}
)


class ChangeOp(enum.StrEnum):
    """What the feed says of a row."""

    UPSERT = "upsert"
    DELETE = "delete"
    SCOPE_EXIT = "scope_exit"


class ParkedState(enum.StrEnum):
    """What became of a mutation that was refused and kept."""

    OPEN = "open"
    APPLIED = "applied"
    DISCARDED = "discarded"


class RowKey(NamedTuple):
    """A row's name within its tenant."""

    collection: str
    id: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StreamState:
    """One tenant's stream at a moment."""

    epoch: UUID
    head: int
    floor: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who pushes or pulls: read from the database at each request, never from the client.

    `scopes` are the scopes that the actor holds; a row in none of them does not exist for them.
    `is_system` is the office door (admin, commands): it sees all rows of its tenant and is not
    bound by a collection's roles or read-only fields.

    `has_quarantine` says that the tenant keeps what is refused, for those who `may_review`. What
    cannot be traced to any row is shown to those who hold one of `home_scopes`, or else one of
    `scopes`.

    `reads` and `writes` are the collections that the actor may at all; None for whatever else
    decides. Who may write one may read it.

    `sees_most` is a hint: lists ask row by row whether the actor sees it; of others they ask which
    rows their scopes have.

    `upgrade_to` is the version that the actor's app must have to pull; empty if it has it.

    `stream` is the tenant's, if the query that looked the actor up brought it along: a pull with
    nothing new is then one round trip. It grows old; whoever goes on with an actor drops it.
    """

    tenant_id: UUID
    user_id: UUID | None = None
    device_id: UUID | None = None
    role: str = ""
    scopes: frozenset[str] = frozenset()
    is_system: bool = False
    has_quarantine: bool = False
    may_review: bool = False
    home_scopes: frozenset[str] = frozenset()
    sees_most: bool = False
    reads: frozenset[str] | None = None
    writes: frozenset[str] | None = None
    upgrade_to: str = ""
    stream: StreamState | None = dataclasses.field(default=None, compare=False)

    def can_see(self, scopes: frozenset[str]) -> bool:
        """Whether a row in `scopes` exists for this actor."""
        return self.is_system or not self.scopes.isdisjoint(scopes)

    def may_read(self, collection: str) -> bool:
        """Whether rows of the collection exist for this actor at all."""
        return self.reads is None or collection in self.reads

    def may_write(self, collection: str) -> bool:
        """Whether the actor may write any row of the collection."""
        return self.writes is None or collection in self.writes


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KnownDevice:
    """A device as the project knows it: what it pulls with, and what people want to know of it.

    `refused` says why its requests are refused, as the code of that error; empty if they are not.
    `advise` returns what is to be done for the device to hold a scope; empty if nothing can.
    """

    actor: Actor
    facts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    refused: str = ""
    advise: Callable[[str], str] = lambda _scope: ""


class Mutation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One well-formed create, update or delete, at its place `index` in the push."""

    index: int
    op: Op
    collection: str
    id: str
    base_version: int | None = None
    group: str | None = None
    data: Wire = {}

    @property
    def key(self) -> RowKey:
        """The row that the mutation is about."""
        return tuple.__new__(RowKey, (self.collection, self.id))  # asked for many times a row


class FieldError(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One thing wrong with one field: `path` is dotted (`tasks.0.text`), `code` is stable."""

    path: str
    code: str
    detail: str
    args: Wire = {}


class Refusal(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Why a mutation is not applied; `args` are further members of its result."""

    outcome: Outcome
    code: str
    detail: str
    errors: tuple[FieldError, ...] = ()
    args: Wire = {}


class RowState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A row as it is: its number of edits, who last edited which field, and its wire form.

    `field_versions` maps a field to the version that last changed it; a field that is not in it
    was last written by version 1.
    """

    version: int
    field_versions: dict[str, int]
    data: Wire
    scopes: frozenset[str] = frozenset()


class Tombstone(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A deleted row: the version that deleted it, and the scopes it was in."""

    version: int
    scopes: frozenset[str] = frozenset()


class Result(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The report's line for one mutation. `refusal` is None exactly when it was applied.

    With a `quarantine_id` it was refused and kept: `outcome` is the one that it would have had.
    """

    mutation: Mutation
    outcome: Outcome
    version: int | None = None
    current: Wire | None = None
    refusal: Refusal | None = None
    quarantine_id: UUID | None = None


class Write(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One row to be written: `before` None is an insert, `after` None a delete.

    `payload` is the JSON of `after`, rendered once: for the table, and for the feed.
    """

    key: RowKey
    before: RowState | None
    after: RowState | None
    version: int
    payload: bytes | None = None


class Change(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the feed is to say of one row; `payload` is its JSON, None for a tombstone.

    `scopes` are those the row is in now, `left` those it has just left.
    """

    key: RowKey
    op: ChangeOp
    version: int
    payload: bytes | None
    scopes: frozenset[str]
    left: frozenset[str] = frozenset()
