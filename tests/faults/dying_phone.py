"""A phone in a process of its own, which kills itself at a named moment of its sync.

    python -m tests.faults.dying_phone URL STORE MOMENT TIMES

    [ key made ] persisted -> (sent) -> answered -> [ settling ] settled      once a batch
    page received -> [ page applying ] page applied                           once a page

In brackets a transaction of the store is open. It dies when it comes to the moment for the
TIMES-th time; if it never does, it ends well. "Sent" is not here: the server knows that moment.
"""

from __future__ import annotations

import enum
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import fieldsync
from fieldsync.drivers import _ENDED, _Walk
from fieldsync.engine import pull
from fieldsync.errors import TransportFailure
from fieldsync.outbox import Outbox
from fieldsync.steps import Effect, Read, Send
from fieldsync.store import Store

PUSH_ROWS_MAX = 2  # a few edits are several batches
PAGE_ROWS_MAX = 3  # and several pages


class Moment(enum.StrEnum):
    """Where a process can die. Values are told on the command line."""

    KEY_MADE = "key made"
    PERSISTED = "persisted"
    ANSWERED = "answered"
    SETTLING = "settling"
    SETTLED = "settled"
    PAGE_RECEIVED = "page received"
    PAGE_APPLYING = "page applying"
    PAGE_APPLIED = "page applied"


BEFORE = {"sync/push": Moment.PERSISTED}
BEHIND = {"sync/push": Moment.ANSWERED, "sync/pull": Moment.PAGE_RECEIVED}
DONE = {"sync/push": Moment.SETTLED, "sync/pull": Moment.PAGE_APPLIED}


@dataclass(slots=True)
class Fate:
    """Dies when `moment` comes for the last of the `times`."""

    moment: Moment | None
    times: int

    def meet(self, moment: Moment | None) -> None:
        """Say that `moment` has come."""
        if moment is None or moment != self.moment:
            return
        self.times -= 1
        if self.times == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def meet_inside(fate: Fate) -> None:
    """Have the moments at which a transaction is open met."""
    store_batch, remove_batch, put_rows = Outbox._store_batch, Outbox.remove_batch, Store.put_rows

    def store_and_meet(self: Outbox, *given: Any, **named: Any) -> None:
        store_batch(self, *given, **named)
        fate.meet(Moment.KEY_MADE)

    def remove_and_meet(self: Outbox, batch: Any) -> None:
        remove_batch(self, batch)
        fate.meet(Moment.SETTLING)

    def put_and_meet(self: Store, rows: Any) -> None:
        put_rows(self, rows)
        fate.meet(Moment.PAGE_APPLYING)

    Outbox._store_batch = store_and_meet  # type: ignore[method-assign]
    Outbox.remove_batch = remove_and_meet  # type: ignore[method-assign]
    Store.put_rows = put_and_meet  # type: ignore[method-assign]


def sync(client: fieldsync.Client, fate: Fate) -> None:
    """One sync, effect by effect."""
    walk = _Walk(client._engine.sync(held_groups=tuple))
    done: Moment | None = None
    while (effect := walk.next()) is not _ENDED:
        fate.meet(done)
        done = carry_out(effect, walk, client._outside.carry_out, fate)
    fate.meet(done)


def carry_out(
    effect: Effect, walk: _Walk, work: Callable[[Effect], Any], fate: Fate
) -> Moment | None:
    """Do what the effect asks for; returns the moment at which its answer is dealt with."""
    match effect:
        case Send(request):
            path = request.path
        case Read():
            path = "sync/pull"  # a piece of its stream
        case _:
            path = ""
    fate.meet(BEFORE.get(path))
    try:
        walk.take(effect, work(effect))
    except TransportFailure as failure:
        walk.fail(failure)
        return None
    fate.meet(BEHIND.get(path))
    return DONE.get(path)


def main(url: str, store: str, moment: str, times: str) -> None:
    """Sync the store with the server, and perhaps die."""
    fate = Fate(Moment(moment) if moment else None, int(times))
    pull.PAGE_ROWS_MAX = PAGE_ROWS_MAX
    meet_inside(fate)
    client = fieldsync.Client(url, store=store, push_rows_max=PUSH_ROWS_MAX)
    sync(client, fate)
    client.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
