"""Report: what one sync did and how far it is, what a file carried, and how a store stands."""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime  # at run time: a field of a struct
from typing import TYPE_CHECKING

import msgspec

from fieldsync.machine import State  # at run time: a field of a struct

if TYPE_CHECKING:
    from collections.abc import Callable

TOLD_EVERY_S = 0.25  # a bar that moves oftener only flickers


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a sync is: so many rows of this phase are done.

    `phase` is one of the working states. Each phase ends with what it came to; a phase may come
    again, with counts of its own.
    """

    phase: State
    done: int
    total: int | None = None  # None where nobody knows


class Meter:
    """Tells how far a sync is, a few times a second at most, in the thread that syncs."""

    def __init__(
        self,
        told: Callable[[Progress], None] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._told = told
        self._clock = clock
        self._waiting: Progress | None = None
        self._phase: State | None = None
        self._next_at = 0.0

    def note(self, phase: State, done: int, total: int | None = None) -> None:
        """Say how far `phase` is; its first word is told at once."""
        if self._told is None:
            return
        if phase is not self._phase:
            self.flush()
            self._phase, self._next_at = phase, self._clock()
        self._waiting = Progress(phase=phase, done=done, total=total)
        if self._clock() >= self._next_at:
            self.flush()
            self._next_at = self._clock() + TOLD_EVERY_S

    def flush(self) -> None:
        """Tell what was noted last, if it was not."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None and self._told is not None:
            self._told(waiting)


QUIET = Meter()  # tells nobody


class SyncReport(msgspec.Struct, kw_only=True):
    """What one `sync()` did; on an error it is the error's `report`, as far as it came."""

    pushed: int = 0  # mutations that got a final outcome
    outcomes: Counter[str] = msgspec.field(default_factory=Counter)
    pulled: int = 0  # changes applied
    batches_sent: int = 0  # pushes on the wire, repeats included
    batches_applied: int = 0  # pushes that got a final answer
    replays: int = 0  # of those, answers that the server had from before
    retries: int = 0  # requests repeated after a failure
    merged: int = 0
    conflicts: int = 0
    issues: int = 0  # new ones
    verified: bool | None = None  # whether the replica equals the server; None: not asked
    repaired: int = 0  # rows that a check had to mend: each of them means a bug somewhere


class CarryReport(msgspec.Struct, kw_only=True):
    """What was carried: into a file, or out of it. Counts are mutations, but for `issues`."""

    sent: int = 0  # in batches that keep their key and bytes
    pending: int = 0  # edits that are in no batch; imported, also what was acked and not seen
    acked_unseen: int = 0  # in a file only
    issues: int = 0
    clashes: int = 0  # imported as an issue, since the row has other unsent work here
    known: int = 0  # here before, or shown by the server: left out


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How a store stands. Nothing is lost as long as everything is in one of these counts."""

    pending: int  # edited rows that are in no batch yet
    sent: int  # rows frozen in a batch whose answer is not known
    issues: int  # refused mutations that wait for a person
    acked_unseen: int  # applied by the server, not yet seen in a pull
    oldest_unsent_at: datetime | None  # when the oldest of what is pending or sent was edited
    rows: int  # rows of the server tree
    has_cursor: bool
    state: State  # what the client is doing, if it syncs by itself
    is_logged_in: bool  # as far as this store knows; the server may see it otherwise
    user: str | None  # id
    username: str | None
    tenant: str | None  # slug
    device: str | None  # id

    @property
    def unsent(self) -> int:
        """Edited rows of which the server has said nothing yet: what a person waits for."""
        return self.pending + self.sent
