"""Rounds: the machine's states, carried out: one sync, or a client that syncs by itself.

once   PUSHING -> PULLING -> CHECKING -> RESTING, and back to the caller
live   the same, then a rest until something happens, again and again until it is stopped
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from fieldsync.engine.report import QUIET, Meter, SyncReport
from fieldsync.errors import (
    AuthRequired,
    FieldsyncError,
    RateLimited,
    ServerBug,
    TransportFailure,
    UpgradeRequired,
)
from fieldsync.machine import Event, State, step
from fieldsync.retry import RetryBudget
from fieldsync.steps import Rest, Wait

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection

    from fieldsync.bell import Bell
    from fieldsync.engine.check import Check
    from fieldsync.engine.pull import Pull
    from fieldsync.engine.push import Push
    from fieldsync.engine.settings import Settings
    from fieldsync.steps import Steps

    HeldGroups = Callable[[], Collection[str]]
    Told = Callable[[SyncReport, FieldsyncError | None], None]

RESTARTS_MAX = 3  # fresh pulls in one sync; a server that asks for more is broken
WORKING = frozenset({State.PUSHING, State.PULLING, State.CHECKING})
POLL_JITTER = 0.1  # of the time between polls: a thousand clients must not ask together
FOREVER_S = 3_600.0  # a rest that only an event ends; it is taken again


class _Round(msgspec.Struct):
    """One way through the working states."""

    held_groups: HeldGroups
    budget: RetryBudget
    report: SyncReport
    meter: Meter
    must_check: bool = False  # somebody asked, due or not
    restarts: int = 0


class Rounds:
    """The states of one client, one at a time."""

    def __init__(
        self,
        push: Push,
        pull: Pull,
        check: Check,
        bell: Bell,
        settings: Settings,
        lock: threading.Lock,
    ) -> None:
        self._push = push
        self._pull = pull
        self._check = check
        self._bell = bell
        self._settings = settings
        self._lock = lock
        self._failures = 0  # rounds without a link, one after the other
        self._wait_at_least_s = 0.0  # what the server asked for
        self.state: State = State.RESTING

    def once(
        self, held_groups: HeldGroups, meter: Meter = QUIET, *, must_check: bool = False
    ) -> Steps[SyncReport]:
        """One round. Raises: a FieldsyncError with the unfinished report."""
        now = self._begin(held_groups, meter)
        now.must_check = must_check
        state = State.PUSHING
        with self._lock:
            try:
                while state in WORKING:
                    state = step(state, (yield from self._work(state, now)))
            except FieldsyncError as error:
                error.report = now.report
                raise
            finally:
                now.report.retries = now.budget.retries
                meter.flush()
        return now.report

    def live(self, held_groups: HeldGroups, told: Told, meter: Meter = QUIET) -> Steps[None]:
        """Round after round until the bell says stop."""
        self.state = State.PUSHING
        while self.state is not State.STOPPED:
            if self.state in WORKING:
                yield from self._live_round(held_groups, told, meter)
            else:
                self.state = step(self.state, (yield from self._await_event()))

    def _live_round(self, held_groups: HeldGroups, told: Told, meter: Meter) -> Steps[None]:
        self._bell.take()  # this round deals with all that has happened so far
        now = self._begin(held_groups, meter)
        failure: FieldsyncError | None = None
        while self.state in WORKING:
            try:
                with self._lock:
                    event = yield from self._until_stopped(self._work(self.state, now))
            except FieldsyncError as error:
                failure, event = error, _event_of(error)
            self.state = step(self.state, event)
        now.report.retries = now.budget.retries
        meter.flush()
        self._failures = self._failures + 1 if self.state is State.OFFLINE else 0
        self._wait_at_least_s = (failure and failure.retry_after_s) or 0.0
        told(now.report, failure)

    def _until_stopped(self, work: Steps[Event]) -> Steps[Event]:
        """What `work` returns; or a stop, before its next request: it may be left off there."""
        failure: TransportFailure | None = None
        reply: Any = None
        try:
            while True:  # ends with the work
                effect = work.throw(failure) if failure else work.send(reply)
                if self._bell.has(Event.STOP):
                    return Event.STOP
                failure = None
                try:
                    reply = yield effect
                except TransportFailure as error:
                    failure = error
        except StopIteration as end:
            event: Event = end.value
            return event
        finally:
            work.close()

    def _begin(self, held_groups: HeldGroups, meter: Meter) -> _Round:
        budget = RetryBudget(self._settings.retry, self._settings.rng)
        return _Round(held_groups, budget, SyncReport(), meter)

    def _work(self, state: State, now: _Round) -> Steps[Event]:
        """Do what `state` is there for. Raises: FieldsyncError."""
        match state:
            case State.PUSHING:
                yield from self._push.run(
                    now.budget, now.report, held_groups=now.held_groups, meter=now.meter
                )
                return Event.PUSHED
            case State.PULLING:
                done = yield from self._pull.run(now.budget, now.report, meter=now.meter)
                return Event.PULLED if done else self._begin_anew(now)
            case _:
                done = yield from self._check.run(
                    now.budget,
                    now.report,
                    meter=now.meter,
                    is_asked=now.must_check,
                    may_restart=not now.restarts,
                )
                return Event.CHECKED if done else self._begin_anew(now)

    @staticmethod
    def _begin_anew(now: _Round) -> Event:
        now.restarts += 1
        if now.restarts > RESTARTS_MAX:
            raise ServerBug(
                code="restarts_without_end", detail="each fresh pull was refused again"
            )
        return Event.CURSOR_GONE

    # waiting

    def _await_event(self) -> Steps[Event]:
        """Rest until something happens that the state does not sit out."""
        left_s = self._rest_s()
        while True:  # ends: each rest takes of what is left
            for event in self._bell.take():
                if step(self.state, event) is not self.state:
                    if event is Event.EDITED:
                        yield Wait(self._settings.settle_s)
                    return event
            if left_s <= 0:
                return Event.DUE
            left_s -= yield Rest(left_s)

    def _rest_s(self) -> float:
        settings = self._settings
        match self.state:
            case State.RESTING:
                return settings.poll_s * settings.rng.uniform(1 - POLL_JITTER, 1 + POLL_JITTER)
            case State.OFFLINE:
                ceiling_s = settings.retry.backoff_s_max * 2.0 ** min(self._failures - 1, 10)
                drawn_s = settings.rng.uniform(0, min(ceiling_s, settings.offline_s_max))
                return max(drawn_s, self._wait_at_least_s)
            case _:
                return FOREVER_S


def _event_of(error: FieldsyncError) -> Event:
    """What a round that ended in `error` means. Raises: `error`, which is none of the link's."""
    match error:
        case AuthRequired():
            return Event.LOGIN_NEEDED
        case UpgradeRequired():
            return Event.UPGRADE_NEEDED
        case TransportFailure() | RateLimited() | ServerBug():
            return Event.LINK_LOST
        case _:
            raise error
