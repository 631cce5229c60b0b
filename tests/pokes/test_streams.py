"""`GET /sync/events`: how a stream begins, what keeps it, what ends it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from sync.models import Stream
from tests.faults.rig import wait_until
from tests.phones import World, create
from tests.pokes.conftest import head_of
from tests.pokes.rig import EVENTS, STOPPED, Watch, ask, push, served


def test_stream_begins_with_a_poke_and_when_to_come_back(redis_pair: Any, wales: World) -> None:
    """What a device missed while it was away only its cursor knows; so each stream begins so."""
    here, _ = redis_pair

    with Watch(here, wales.hire()) as watch:
        first, second = watch.next_lines(), watch.next_lines()

    assert watch.answer.status == 200
    assert watch.answer.headers["Content-Type"] == "text/event-stream"
    assert watch.answer.headers["Cache-Control"] == "no-store"
    assert watch.answer.headers["X-Accel-Buffering"] == "no"
    assert len(first) == 1
    assert re.fullmatch(r"retry: [2-7]\d{3}|retry: 8000", first[0])
    head = head_of(wales)
    assert second == ["event: poke", f"id: {head}", f'data: {{"head": {head}}}']


def test_tenant_without_a_feed_has_head_0(redis_pair: Any, wales: World) -> None:
    """A customer of today, before anything was written."""
    here, _ = redis_pair
    phone = wales.hire()
    Stream.objects.all().delete()

    with Watch(here, phone) as watch:
        assert watch.next_poke() == 0


def test_silent_stream_is_pinged(wales: World, tmp_path: Path) -> None:
    """Proxies end what is silent, and a phone must notice a dead line."""
    with (
        served(tmp_path, STREAM_PING_S=0.1) as server,
        Watch(server, wales.hire()) as watch,
    ):
        watch.next_poke()
        blocks = [watch.next_lines() for _ in range(3)]

    assert blocks == [[": ping"]] * 3


@pytest.mark.parametrize("accept", ["text/event-stream", "*/*", "text/html, */*;q=0.1"])
def test_stream_is_for_whoever_takes_it(redis_pair: Any, wales: World, accept: str) -> None:
    """Browsers' EventSource asks for its type; HTTP libraries for anything."""
    here, _ = redis_pair

    with Watch(here, wales.hire(), Accept=accept) as watch:
        assert watch.next_poke() == head_of(wales)


@pytest.mark.parametrize(
    ("method", "token", "status", "code"),
    [
        ("GET",  "none",    401, "token_invalid"),
        ("HEAD", None,      405, None),
        ("POST", None,      405, "method_not_allowed"),
    ],
)  # fmt: skip
def test_nobody_else_gets_a_stream(
    redis_pair: Any, wales: World, method: str, token: str | None, status: int, code: str | None
) -> None:
    """A HEAD would hold a stream of which nothing is ever sent."""
    here, _ = redis_pair
    phone = wales.hire()
    phone.token = token or phone.token

    reply = ask(here, phone, method, EVENTS)

    assert reply.status == status
    assert code is None or reply.code == code


def test_server_that_cannot_stream_says_so(wales: World) -> None:
    """Under WSGI an answer without an end would hold a thread for ever."""
    answer = wales.hire().send("GET", EVENTS, Accept="text/event-stream")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_device_that_leaves_frees_its_place(wales: World, tmp_path: Path) -> None:
    """Phones come and go all day; and beyond the last place it is 503, with a time to come back."""
    alice, bob = wales.hire(), wales.hire()

    with served(tmp_path, WAITING_MAX=1) as server:
        with Watch(server, alice) as watch:
            watch.next_poke()
            full = ask(server, bob, "GET", EVENTS)

        def has_room() -> bool:
            with Watch(server, bob) as again:
                return again.answer.status == 200

        wait_until(has_room)

    assert (full.status, full.code) == (503, "too_many_waiting")
    assert int(full.headers["retry-after"]) > 0


@pytest.mark.own_session
def test_newest_streams_of_a_device_win(wales: World, tmp_path: Path) -> None:
    """Lines that died unnoticed, in a tunnel, must not keep the phone out."""
    alice, bob = wales.hire(), wales.hire()

    with (
        served(tmp_path, POKE_URL="postgresql:", STREAMS_PER_DEVICE_MAX=2) as server,
        Watch(server, bob) as of_bob,
        Watch(server, alice) as oldest,
        Watch(server, alice) as older,
    ):
        for watch in (of_bob, oldest, older):
            watch.next_poke()
        with Watch(server, alice) as newest:
            newest.next_poke()
            assert oldest.is_at_end()
            push(server, alice, create("work_orders", **wales.order()))

            heads = [watch.next_poke() for watch in (of_bob, older, newest)]

    assert heads == [head_of(wales)] * 3


def test_old_stream_ends(wales: World, tmp_path: Path) -> None:
    """Connecting anew checks everything from its start, and spreads devices over the workers."""
    with (
        served(tmp_path, STREAM_S_MAX=0.2) as server,
        Watch(server, wales.hire()) as watch,
    ):
        watch.next_poke()

        assert watch.is_at_end()


def test_server_that_stops_ends_streams_well(wales: World, tmp_path: Path) -> None:
    """At once and with a proper end: uvicorn would wait, and then cut them."""
    with served(tmp_path) as server, Watch(server, wales.hire()) as watch:
        watch.next_poke()
        server.stop()

        assert watch.is_at_end()
        assert server.child.wait() == STOPPED
        log = server.child.log
        assert log is not None
        assert "ERROR" not in log.read_text()
