"""One device's stream of server-sent events, as long as it is connected.

    retry, poke(head now) -> [ poke: there is something to pull | ping: the line still stands ] …

The first poke always comes: what a device missed while it was away only its cursor knows. The
stream ends when the server stops, when the device may no longer pull, when newer ones of the
device took its place, or when it is old.

Source: the HTML standard, section 9.2 (server-sent events).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable

from sync import heads, threads
from sync.conf import sync_settings
from sync.errors import TooManyWaiting, Unavailable
from sync.pokes.hub import JITTER, Hub, Waiter, current_hub
from sync.types import Actor

RETRY_S = (2.0, 8.0)  # after a restart not everybody comes back in one moment
FULL_RETRY_S = (15.0, 45.0)
PING = b": ping\n\n"

# Who the device is by now; None: not let in any more. Raises Unavailable: ask later.
Recheck = Callable[[], Actor | None]


async def stream_pokes(
    actor: Actor, recheck: Recheck, rng: random.Random | None = None
) -> AsyncIterator[bytes]:
    """Yield the events of `actor`; `recheck` is called in a worker thread now and then."""
    rng = rng or random.Random()  # noqa: S311  # spreads what many do; guards nothing
    hub = current_hub()
    try:
        with hub.joined(actor, is_stream=True) as waiter:
            waiter.told = await threads.run(lambda: heads.read_head(actor.tenant_id))
            yield _retry(rng, RETRY_S) + _poke(waiter.told)
            stream = _Stream(hub, waiter, recheck, rng)
            while not stream.is_over:
                events = await stream.next_events()
                if events:
                    yield events
    except TooManyWaiting:  # there was room when the request came in
        yield _retry(rng, FULL_RETRY_S)


class _Stream:
    """When what is due on one stream."""

    def __init__(self, hub: Hub, waiter: Waiter, recheck: Recheck, rng: random.Random) -> None:
        self.is_over = False
        self._hub = hub
        self._waiter = waiter
        self._recheck = recheck
        self._rng = rng
        self._time = asyncio.get_running_loop().time
        self._ping_at = self._rest_until = self._recheck_at = 0.0
        self._end_at = self._in(sync_settings().stream_s_max)
        self._plan_recheck()
        self._note_sent(is_poke=True)

    async def next_events(self) -> bytes:
        """Return what is to be sent next, or nothing when only time has passed."""
        now = self._time()
        is_resting = now < self._rest_until
        due = [
            self._ping_at,
            self._recheck_at,
            self._end_at,
            *([self._rest_until] if is_resting else []),
        ]
        news = await self._waiter.wait(min(due) - now, is_resting=is_resting)
        if news.is_over or self._time() >= self._end_at:
            self.is_over = True
            return b""
        is_poke = news.head is not None
        if news.is_recheck or self._time() >= self._recheck_at:
            is_poke |= await self._look_again()
        is_ping = self._time() >= self._ping_at
        if self.is_over or not (is_poke or is_ping):
            return b""
        self._note_sent(is_poke=is_poke)
        return _poke(self._waiter.told) if is_poke else PING

    async def _look_again(self) -> bool:
        """Look up who the device is by now; whether that gave it something to pull."""
        self._plan_recheck()
        try:
            async with self._hub.rechecks:
                actor = await threads.run(self._recheck)
        except Unavailable:  # the database is away: no reason to send everybody away, too
            return False
        if actor is None:
            self.is_over = True
            return False
        before, self._waiter.scopes = self._waiter.scopes, actor.scopes
        return before != actor.scopes

    def _plan_recheck(self) -> None:
        self._recheck_at = self._in(sync_settings().stream_recheck_s)

    def _note_sent(self, *, is_poke: bool) -> None:
        settings = sync_settings()
        self._ping_at = self._in(settings.stream_ping_s)
        if is_poke:
            self._rest_until = self._time() + settings.poke_gap_s

    def _in(self, seconds: float) -> float:
        return self._time() + seconds * self._rng.uniform(1 - JITTER, 1)


def _poke(head: int) -> bytes:
    return b'event: poke\nid: %d\ndata: {"head": %d}\n\n' % (head, head)


def _retry(rng: random.Random, range_s: tuple[float, float]) -> bytes:
    return b"retry: %d\n\n" % round(rng.uniform(*range_s) * 1_000)
