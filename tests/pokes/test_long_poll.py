"""`wait=`: a pull with nothing to say waits until it has, for those who cannot hold a stream."""

from __future__ import annotations

import asyncio
import http.client
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.http import HttpResponse

from backend.accounts.models import Role
from backend.devstack.server import Server
from sync.api.waiting import hold
from sync.types import Actor
from tests.faults.rig import wait_until
from tests.phones import PULL, World, create
from tests.pokes.conftest import head_of
from tests.pokes.rig import (
    COMES_S_MAX,
    NEVER_S,
    STOPPED,
    WAIT_S,
    Watch,
    ask,
    hold_a_pull,
    pull,
    pull_to_end,
    push,
    served,
)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


@pytest.fixture
def one_place(transactional_db: None, tmp_path: Path, redis_url: str) -> Iterator[Server]:
    """Return a server in which one may wait; whoever comes second shows that the first does."""
    with served(tmp_path, POKE_URL=redis_url, WAITING_MAX=1) as server:
        yield server


def test_held_pull_is_answered_with_the_change(
    one_place: Server, redis_pair: Any, wales: World, pool: ThreadPoolExecutor
) -> None:
    """From whichever process it was written in."""
    alice, dora = wales.hire(), wales.hire(Role.DISPATCHER)
    order = create("work_orders", **wales.order())
    held = hold_a_pull(pool, one_place, alice, dora)

    push(redis_pair[0], dora, order)
    reply = held.result()

    assert reply.status == 200
    assert [change["id"] for change in reply.json["changes"]] == [order["id"]]


def test_held_pull_is_not_woken_by_what_it_does_not_see(
    one_place: Server, wales: World, pool: ThreadPoolExecutor
) -> None:
    """Neither of the other territory's rows; the next change that is hers comes alone."""
    alice, dora = wales.hire(), wales.hire(Role.DISPATCHER)
    held = hold_a_pull(pool, one_place, alice, dora)
    order = create("work_orders", **wales.order())

    push(one_place, dora, create("work_orders", **wales.order(site=wales.other_site)))
    push(one_place, dora, order)

    assert [change["id"] for change in held.result().json["changes"]] == [order["id"]]


def test_pull_that_has_something_is_not_held(one_place: Server, wales: World) -> None:
    """Nor needs it a place to wait."""
    alice, bob = wales.hire(), wales.hire()

    with Watch(one_place, bob) as watch:
        watch.next_poke()
        reply = pull(one_place, alice, wait=WAIT_S)

    assert reply.status == 200
    assert reply.json["changes"]


@pytest.mark.parametrize("wait", [0, 1])
def test_end_of_the_wait_is_an_empty_page(one_place: Server, wales: World, wait: int) -> None:
    """As without `wait`: a client that knows nothing of it is none the wiser."""
    alice = wales.hire()
    cursor = pull_to_end(one_place, alice)

    reply = pull(one_place, alice, cursor=cursor, wait=wait)

    assert (reply.status, reply.json["changes"], reply.json["has_more"]) == (200, [], False)
    assert reply.json["cursor"]


def test_end_of_the_wait_is_a_304_for_whoever_asks_so(one_place: Server, wales: World) -> None:
    """The second time, the request has the same validator."""
    alice = wales.hire()
    url = f"{PULL}?cursor={pull_to_end(one_place, alice)}&wait=1"
    etag = ask(one_place, alice, "GET", url).headers["etag"]

    reply = ask(one_place, alice, "GET", url, **{"If-None-Match": etag})

    assert (reply.status, reply.body, reply.headers["etag"]) == (304, b"", etag)


def test_held_pull_of_a_phone_that_leaves_frees_its_place(
    one_place: Server, wales: World, pool: ThreadPoolExecutor
) -> None:
    """A phone that goes into a tunnel asks again on another line."""
    alice, bob = wales.hire(), wales.hire()
    cursor, of_bob = pull_to_end(one_place, alice), pull_to_end(one_place, bob)
    line = http.client.HTTPConnection("127.0.0.1", one_place.port, timeout=60)
    own = {"Authorization": f"Bearer {alice.token}"}
    line.request("GET", f"{PULL}?cursor={cursor}&wait={WAIT_S}", headers=own)
    wait_until(lambda: pull(one_place, bob, cursor=of_bob, wait=1).status == 503)

    line.close()

    wait_until(lambda: pull(one_place, bob, cursor=of_bob, wait=1).status == 200)


def test_server_that_stops_answers_held_pulls_at_once(
    one_place: Server, wales: World, pool: ThreadPoolExecutor
) -> None:
    """With the empty page: the phone's next pull finds another server."""
    alice, bob = wales.hire(), wales.hire()
    held = hold_a_pull(pool, one_place, alice, bob)

    one_place.child.send(signal.SIGTERM)

    assert (held.result().status, held.result().json["changes"]) == (200, [])
    assert one_place.child.wait() == STOPPED


def test_full_house_is_a_503_with_a_time_to_come_back(
    one_place: Server, wales: World, pool: ThreadPoolExecutor
) -> None:
    """An empty page at once would be asked for again at once."""
    alice, bob = wales.hire(), wales.hire()
    with Watch(one_place, alice) as watch:
        watch.next_poke()
        reply = pull(one_place, bob, cursor=pull_to_end(one_place, bob), wait=1)

    assert (reply.status, reply.code) == (503, "too_many_waiting")
    assert int(reply.headers["retry-after"]) > 0


def test_change_between_page_and_wait_is_not_slept_over(wales: World, settings: Any) -> None:
    """Committed and poked after the page was read, and before anybody waited for it."""
    alice = wales.hire()
    actor = Actor(tenant_id=alice.tenant_id, user_id=alice.user_id, scopes=frozenset({"tenant"}))
    settings.SYNC = {**settings.SYNC, "POKE_POLL_S": NEVER_S}
    response: Any = HttpResponse()

    hold(response, actor, head=head_of(wales) - 4, wait_s=int(NEVER_S))

    async def end() -> None:
        await asyncio.wait_for(response.hold(), COMES_S_MAX)

    async_to_sync(end)()


@pytest.mark.parametrize("wait", ["", "x", "-1", "1.5", "61", "9" * 30, "٣"])
def test_strange_wait_is_refused(wales: World, wait: str) -> None:
    """Beyond the limit too: who asks for an hour should know that it gets a minute."""
    answer = wales.hire().send("GET", f"{PULL}?wait={wait}")

    assert (answer.status_code, answer.json()["code"]) == (400, "parameter_invalid")
    assert answer.json()["errors"][0]["path"] == "wait"


def test_limit_of_the_wait_is_published(wales: World) -> None:
    """With the others."""
    assert wales.hire().send("GET", "/api/v1/sync/limits").json()["wait_s_max"] == WAIT_S


def test_server_that_cannot_hold_answers_at_once(wales: World) -> None:
    """Under WSGI a wait would hold a thread: the page comes as it is."""
    alice = wales.hire()
    alice.pull()

    answer = alice.send("GET", f"{PULL}?cursor={alice.cursor}&wait={WAIT_S}")

    assert (answer.status_code, answer.json()["changes"]) == (200, [])
