"""The waiters' side: who waits in this process, and who of them hears which poke.

    join -> Waiter ─wait─> News       told by  deliver   a poke of the line
                                               sweep     the database, asked now and then
                                               close     the server stops

All of it belongs to the event loop; `deliver` is posted to it. No thread is held by who waits.

What a waiter has been told of is a head: its device pulls after that, and so gets all up to it.
So a sweep finds exactly what was missed: changes in its scopes above what it was told.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from sync import heads, threads
from sync.conf import sync_settings
from sync.errors import TooManyWaiting
from sync.pokes.listener import Listener

if TYPE_CHECKING:
    from uuid import UUID

    from sync.pokes.message import Poke
    from sync.types import Actor

log = logging.getLogger(__name__)

JITTER = 0.2  # processes that were started together do not ask together
TOLD_NOTHING = -1
RECHECKS_MAX = 2  # at once: when a whole tenant is to be looked at, requests still get threads


class News(NamedTuple):
    """Why a wait ended; none of it: the time was up."""

    head: int | None = None  # there is something to pull, up to here at least
    is_recheck: bool = False  # the actor may hold other scopes, or none any more
    is_over: bool = False  # the server stops, or a newer stream took this one's place


class Waiter:
    """One device that waits; made by `Hub.join`."""

    __slots__ = ("_head", "_is_over", "_is_recheck", "_is_resting", "_sleeper",
                 "holder_id", "scopes", "tenant_id", "told", "user_id")  # fmt: skip

    def __init__(self, actor: Actor, told: int) -> None:
        self.tenant_id = actor.tenant_id
        self.user_id = actor.user_id
        self.holder_id = actor.device_id or actor.user_id
        self.scopes = actor.scopes
        self.told = told
        self._head = 0
        self._is_recheck = False
        self._is_over = threads.is_closing()
        self._is_resting = False
        self._sleeper: asyncio.Future[None] | None = None

    async def wait(self, timeout_s: float, *, is_resting: bool = False) -> News:
        """Return what there is to say, at the latest after `timeout_s`.

        `is_resting`: that there is something to pull can wait; it is kept.
        """
        if not self._has_news(is_resting=is_resting):
            loop = asyncio.get_running_loop()
            self._sleeper, self._is_resting = loop.create_future(), is_resting
            alarm = loop.call_later(timeout_s, self._wake)
            try:
                await self._sleeper
            finally:
                alarm.cancel()
                self._sleeper = None
        return self._take(is_resting=is_resting)

    def tell(self, head: int) -> None:
        """Say that there is something to pull; not again what it was told before."""
        if head > max(self.told, self._head):
            self._head = head
            self._wake_if_news()

    def tell_again(self, head: int) -> None:
        """Say so whatever it was told before: the feed has another history now."""
        self.told, self._head = TOLD_NOTHING, head
        self._wake_if_news()

    def doubt(self, head: int, known: int) -> None:
        """Forget what it was told, back to `known`, if that was more than there is: a forgery."""
        if max(self.told, self._head) > head:
            self.told, self._head = min(self.told, known), 0

    def recheck(self) -> None:
        """Say that its scopes are to be looked up again."""
        self._is_recheck = True
        self._wake_if_news()

    def end(self) -> None:
        """Say that it is to wait no longer."""
        self._is_over = True
        self._wake_if_news()

    def _has_news(self, *, is_resting: bool) -> bool:
        is_told = self._head > self.told and not is_resting
        return is_told or self._is_recheck or self._is_over

    def _take(self, *, is_resting: bool) -> News:
        head = None
        if self._head > self.told and not is_resting:
            head = self.told = self._head
        is_recheck, self._is_recheck = self._is_recheck, False
        return News(head=head, is_recheck=is_recheck, is_over=self._is_over)

    def _wake_if_news(self) -> None:
        if self._has_news(is_resting=self._is_resting):
            self._wake()

    def _wake(self) -> None:
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)


class _Tenant:
    """Who waits for news of one tenant, and up to where the database was asked about it."""

    def __init__(self) -> None:
        self.waiters: set[Waiter] = set()
        self.asked: heads.Head | None = None


class Hub:
    """The waiters of one event loop."""

    def __init__(self, rng: random.Random | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.rechecks = asyncio.Semaphore(RECHECKS_MAX)
        self.count = 0
        self._rng = rng or random.Random()  # noqa: S311  # spreads what many do; guards nothing
        self._tenants: dict[UUID, _Tenant] = {}
        self._streams: dict[UUID | None, list[Waiter]] = {}
        self._sweep_wanted = asyncio.Event()
        self._sweeper: asyncio.Task[None] | None = None
        self._listener = Listener(self)
        threads.on_closing(self.close)

    @contextmanager
    def joined(
        self, actor: Actor, *, told: int = TOLD_NOTHING, is_stream: bool = False
    ) -> Iterator[Waiter]:
        """Have a waiter for `actor` during the block.

        Raises:
            TooManyWaiting: the process has no place for another one.
        """
        if self.count >= sync_settings().waiting_max:
            raise TooManyWaiting
        waiter = Waiter(actor, told)
        self._enter(waiter, is_stream=is_stream)
        try:
            yield waiter
        finally:
            self._leave(waiter, is_stream=is_stream)

    def deliver(self, poke: Poke) -> None:
        """Tell those whom `poke` is for."""
        for waiter in self._waiters(poke.tenant_id):
            if poke.scopes is None or not poke.scopes.isdisjoint(waiter.scopes):
                waiter.tell(poke.head)
            if poke.users is None or waiter.user_id in poke.users:
                waiter.recheck()

    def sweep_soon(self) -> None:
        """Ask the database now: pokes may have been missed."""
        self._sweep_wanted.set()

    def close(self) -> None:
        """Let everybody go, at once."""
        for tenant_id in list(self._tenants):
            for waiter in self._waiters(tenant_id):
                waiter.end()

    async def sweep(self) -> None:
        """Ask the database how far the feeds go; tell those who missed something."""
        tenant_ids = list(self._tenants)
        found = await threads.run(lambda: heads.read_heads(tenant_ids))
        for tenant_id, head in found.items():
            tenant = self._tenants.get(tenant_id)
            if tenant is None or head == tenant.asked:
                continue
            asked = tenant.asked or heads.Head(head.epoch, 0)
            if asked.epoch != head.epoch or asked.head > head.head:
                for waiter in list(tenant.waiters):
                    waiter.tell_again(head.head)
            else:
                await self._tell_missed(tenant_id, tenant, asked.head, head.head)
            tenant.asked = head  # not before: what fails is asked again

    async def _tell_missed(self, tenant_id: UUID, tenant: _Tenant, after: int, head: int) -> None:
        scopes = {scope for waiter in tenant.waiters for scope in waiter.scopes}
        newest = await threads.run(lambda: heads.read_newest(tenant_id, scopes, after))
        for waiter in list(tenant.waiters):
            waiter.doubt(head, after)
            waiter.tell(max((newest.get(scope, 0) for scope in waiter.scopes), default=0))

    async def _sweep_for_ever(self) -> None:
        while True:
            pause_s = sync_settings().poke_poll_s * self._rng.uniform(1 - JITTER, 1 + JITTER)
            try:
                async with asyncio.timeout(pause_s):
                    await self._sweep_wanted.wait()
            except TimeoutError:
                pass
            self._sweep_wanted.clear()
            try:
                await self.sweep()
            except Exception:
                log.exception("the database could not be asked for news; it is asked again")

    def _enter(self, waiter: Waiter, *, is_stream: bool) -> None:
        self.count += 1
        self._tenants.setdefault(waiter.tenant_id, _Tenant()).waiters.add(waiter)
        if is_stream:
            own = self._streams.setdefault(waiter.holder_id, [])
            own.append(waiter)
            if len(own) > sync_settings().streams_per_device_max:
                own.pop(0).end()
        if self._sweeper is None:
            self._sweeper = self.loop.create_task(self._sweep_for_ever())
        self._listener.ensure()

    def _leave(self, waiter: Waiter, *, is_stream: bool) -> None:
        self.count -= 1
        tenant = self._tenants[waiter.tenant_id]
        tenant.waiters.discard(waiter)
        if not tenant.waiters:
            del self._tenants[waiter.tenant_id]
        own = self._streams.get(waiter.holder_id, [])
        if is_stream and waiter in own:
            own.remove(waiter)
        if not own:
            self._streams.pop(waiter.holder_id, None)
        if not self.count and self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    def _waiters(self, tenant_id: UUID) -> Iterable[Waiter]:
        tenant = self._tenants.get(tenant_id)
        return list(tenant.waiters) if tenant else ()


_hubs: list[Hub] = []  # the one of the process; tests have several loops, one after the other


def current_hub() -> Hub:
    """Return the hub of the running event loop."""
    if not _hubs or _hubs[0].loop is not asyncio.get_running_loop():
        _hubs[:] = [Hub()]
    return _hubs[0]


def check_room() -> None:
    """Refuse early, from any thread; a place is not kept.

    Raises:
        TooManyWaiting: the process has no place for another waiter.
    """
    if _hubs and _hubs[0].count >= sync_settings().waiting_max:
        raise TooManyWaiting
