"""`/livez` while the server is busy: a restart would lose what it is at, and help nobody."""

from __future__ import annotations

import dataclasses

from backend.health.middleware import LIVE_PATH, READY_PATH
from tests.phones import make_world
from tests.serving.front import Front


def test_server_with_a_full_queue_is_alive_and_not_ready(front: Front) -> None:
    phone = make_world("wales").hire()
    live = dataclasses.replace(front, path=LIVE_PATH)
    ready = dataclasses.replace(front, path=READY_PATH)
    assert (live.ask(phone).status, ready.ask(phone).status) == (200, 200)
    asked = front.handler.asked

    front.bridge.inside_max = 0

    assert live.ask(phone).body == b"ok\n"
    assert ready.ask(phone).status == 503
    assert front.handler.asked == asked, "neither took a thread"


def test_only_reads_of_it_are_answered_so(front: Front) -> None:
    phone = make_world("wales").hire()
    live = dataclasses.replace(front, path=LIVE_PATH)

    answer = live.runner.run(live.asking(phone, method="HEAD"))

    assert answer.status == 200
    front.bridge.inside_max = 0
    assert live.runner.run(live.asking(phone, method="POST")).status == 503
