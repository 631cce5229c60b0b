"""Who of those who wait is told what, whichever pokes are lost, late, doubled or out of order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import Error

from backend.accounts.models import Role
from backend.fieldwork.collections import territory_scope, user_scope
from sync import heads
from sync.errors import TooManyWaiting, Unavailable
from sync.pokes.hub import Hub, Waiter
from sync.pokes.message import Poke
from sync.pokes.stream import stream_pokes
from sync.types import Actor
from tests.phones import World, create

ROUNDS = 12
SEEDS = range(8)
SOON_S = 60.0  # what is there at once is not waited for so long
NOW_S = 0.0


def actor_of(world: World, *scopes: str) -> Actor:
    return Actor(tenant_id=world.tenant.pk, scopes=frozenset(scopes))


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run `story` on an event loop; its work with the database is done in this thread."""
    async_to_sync(story)()


@contextmanager
def all_joined(hub: Hub, actors: list[Actor], told: int) -> Iterator[list[Waiter]]:
    with ExitStack() as stack:
        yield [stack.enter_context(hub.joined(actor, told=told)) for actor in actors]


class Office:
    """Writes work orders here and there, and knows what pokes that makes."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self._world = world
        self._rng = rng
        self._dora = world.hire(Role.DISPATCHER)
        self.cardiff, self.newport = (
            territory_scope(each) for each in (world.cardiff, world.newport)
        )
        self.own = user_scope(self._dora.user_id)

    def write(self) -> Poke:
        is_own, is_here = self._rng.random() < 0.3, self._rng.random() < 0.5
        site = self._world.site if is_here else self._world.other_site
        extra = {"assignee": str(self._dora.user_id)} if is_own else {}
        self._dora.push(create("work_orders", **self._world.order(site=site, **extra)))
        scopes = {self.cardiff if is_here else self.newport, *([self.own] if is_own else [])}
        tenant_id = self._world.tenant.pk
        head = heads.read_head(tenant_id)
        return Poke(tenant_id=tenant_id, head=head, scopes=frozenset(scopes))


async def disturb(hub: Hub, office: Office, waiters: list[Waiter], rng: random.Random) -> set[int]:
    """Let the office write and pokes go astray; return the places of those who were told."""
    sent: list[Poke] = []
    told: set[int] = set()
    for _ in range(rng.randrange(ROUNDS)):
        sent.append(await sync_to_async(office.write)())
        for poke in rng.sample(sent, rng.randrange(len(sent) + 1)):
            hub.deliver(poke)
        if rng.random() < 0.3:
            await hub.sweep()
        if rng.random() < 0.5:
            told |= await take(waiters)
    return told


async def take(waiters: list[Waiter]) -> set[int]:
    """Return the places of those who are told something now."""
    news = [await waiter.wait(NOW_S) for waiter in waiters]
    return {place for place, each in enumerate(news) if each.head is not None}


@pytest.mark.parametrize("seed", SEEDS)
def test_after_a_sweep_all_who_have_something_were_told_and_nobody_else(
    wales: World, seed: int
) -> None:
    """A device pulls after it is told a head: one at or above its newest change must have come."""
    rng = random.Random(seed)
    office = Office(wales, rng)
    scopes = [
        [office.cardiff], [office.newport], [office.own], [office.cardiff, office.newport],
        ["nothing"], [],
    ]  # fmt: skip
    start = heads.read_head(wales.tenant.pk)

    async def story() -> tuple[set[int], list[int]]:
        hub = Hub()
        with all_joined(hub, [actor_of(wales, *each) for each in scopes], start) as waiters:
            told = await disturb(hub, office, waiters, rng)
            await hub.sweep()
            told |= await take(waiters)
            return told, [waiter.told for waiter in waiters]

    told, reached = async_to_sync(story)()

    newest = [heads.read_newest(wales.tenant.pk, each, start).values() for each in scopes]
    assert told == {place for place, found in enumerate(newest) if found}
    for found, head in zip(newest, reached, strict=True):
        assert head >= max(found, default=start)


def test_sweep_that_failed_is_made_again(wales: World) -> None:
    """The database went away between two of its questions: nothing counts as asked yet."""
    dora = wales.hire(Role.DISPATCHER)
    start = heads.read_head(wales.tenant.pk)
    dora.push(create("work_orders", **wales.order()))

    async def story() -> None:
        hub = Hub()
        broken = actor_of(wales, "a\0b")  # which PostgreSQL cannot take
        with hub.joined(actor_of(wales, territory_scope(wales.cardiff)), told=start) as waiter:
            with hub.joined(broken, told=start), pytest.raises(Error):
                await hub.sweep()
            await hub.sweep()
            assert (await waiter.wait(NOW_S)).head == start + 1

    run(story)


def test_poke_during_a_rest_is_kept_for_its_end(wales: World) -> None:
    """What happens meanwhile is told once, when the rest is over."""

    async def story() -> None:
        hub = Hub()
        with hub.joined(actor_of(wales, "a"), told=3) as waiter:
            for head in (4, 6, 5):
                hub.deliver(Poke(tenant_id=wales.tenant.pk, head=head, scopes=None))
            assert (await waiter.wait(NOW_S, is_resting=True)).head is None
            assert (await waiter.wait(SOON_S)).head == 6
            assert (await waiter.wait(NOW_S)).head is None

    run(story)


@pytest.mark.parametrize("is_resting", [False, True])
def test_end_and_recheck_wake_whoever_waits(wales: World, is_resting: bool) -> None:
    """At once, in the middle of a wait, also of one that rests."""

    async def story() -> None:
        hub = Hub()
        with hub.joined(actor_of(wales, "a"), told=3) as waiter:
            waiting = asyncio.ensure_future(waiter.wait(SOON_S, is_resting=is_resting))
            await asyncio.sleep(0)
            hub.deliver(Poke(tenant_id=wales.tenant.pk, users=None))
            assert (await waiting).is_recheck
            waiting = asyncio.ensure_future(waiter.wait(SOON_S, is_resting=is_resting))
            await asyncio.sleep(0)
            hub.close()
            assert (await waiting).is_over

    run(story)


def test_places_are_bounded_and_freed(wales: World, settings: Any) -> None:
    """Whoever leaves, in whatever way, leaves a place."""
    settings.SYNC = {**settings.SYNC, "WAITING_MAX": 2}

    async def story() -> None:
        hub = Hub()
        actors = [actor_of(wales, "a")] * 2
        for _ in range(3):
            with all_joined(hub, actors, told=0):
                with pytest.raises(TooManyWaiting), hub.joined(actors[0]):
                    pass
                assert hub.count == 2
        assert hub.count == 0

    run(story)


def test_stream_goes_on_when_it_cannot_be_said_who_it_is(wales: World, settings: Any) -> None:
    """A database that is away for a minute must not send a thousand phones away with it."""
    settings.SYNC = {
        **settings.SYNC, "STREAM_RECHECK_S": 0, "POKE_GAP_S": 0, "STREAM_PING_S": 0,
    }  # fmt: skip
    answers: list[Any] = [Unavailable(), Unavailable(), None]

    def recheck() -> Actor | None:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return None

    async def story() -> None:
        events = [each async for each in stream_pokes(actor_of(wales, "a"), recheck)]
        assert len(events) > 1
        assert answers == []

    run(story)
