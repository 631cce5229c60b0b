"""Report: what one sync did, and how a store stands."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from fieldsync.machine import State  # at run time: a dataclass field


@dataclass(slots=True, kw_only=True)
class SyncReport:
    """What one `sync()` did; on an error it is the error's `report`, as far as it came."""

    pushed: int = 0  # mutations that got a final outcome
    outcomes: Counter[str] = field(default_factory=Counter)
    pulled: int = 0  # changes applied
    batches_sent: int = 0  # pushes on the wire, repeats included
    batches_applied: int = 0  # pushes that got a final answer
    replays: int = 0  # of those, answers that the server had from before
    retries: int = 0  # requests repeated after a failure
    merged: int = 0
    conflicts: int = 0
    issues: int = 0  # new ones


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How a store stands. Nothing is lost as long as everything is in one of these counts."""

    pending: int  # edited rows that are in no batch yet
    sent: int  # rows frozen in a batch whose answer is not known
    issues: int  # refused mutations that wait for a person
    acked_unseen: int  # applied by the server, not yet seen in a pull
    rows: int  # rows of the server tree
    has_cursor: bool
    state: State  # what the client is doing, if it syncs by itself
    user: str | None  # id
    username: str | None
    tenant: str | None  # slug
    device: str | None  # id

    @property
    def unsent(self) -> int:
        """Edited rows of which the server has said nothing yet: what a person waits for."""
        return self.pending + self.sent
