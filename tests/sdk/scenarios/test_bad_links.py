"""Links that break, lie or stop in the middle: the phone sends the same thing until it is told."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

import fieldsync
from fieldsync.testing import Fault
from fieldsync.testing.answers import HTML

NOTHING_WAITS = (0, 0, 0, 0)


def counts(phone: Any) -> tuple[int, int, int, int]:
    status = phone.client.status()
    return status.pending, status.sent, status.acked_unseen, status.issues


def test_answer_lost_for_a_whole_day_changes_nothing(server: Any, phone: Any) -> None:
    """Scenario 1: sent in the morning, answered in the evening, by another process, once."""
    order = phone["work_orders"].create({"title": "Replace the pump seal"})
    server.faults.extend([Fault.LOST_ANSWER] * 12)
    for _ in range(2):
        with pytest.raises(fieldsync.Unreachable):
            phone.sync()
        phone.restart()

    report = phone.sync()

    assert len(set(server.pushes())) == 1
    assert (report.replays, [row_id for *_, row_id in server.applied]) == (1, [order])
    assert server.state.rows["work_orders", order].version == 1
    assert phone.view("work_orders") == server.live("work_orders")
    assert counts(phone) == NOTHING_WAITS


WHAT_STANDS_BETWEEN = {
    "a portal that says 200": httpx2.Response(200, html=HTML),
    "a portal that sends elsewhere": httpx2.Response(302, headers={"location": "http://portal"}),
    "a portal that speaks JSON": httpx2.Response(200, json={"login": "http://portal"}),
    "a proxy's own 502": httpx2.Response(502, html=HTML),
    "a proxy's own 404": httpx2.Response(404, html=HTML),
    "a proxy's own 410": httpx2.Response(410, html=HTML),
    "a proxy's own 401": httpx2.Response(401, html=HTML),
    "nothing at all": httpx2.Response(200, content=b""),
}


@pytest.mark.parametrize("what", WHAT_STANDS_BETWEEN)
def test_what_stands_between_is_never_taken_for_the_server(
    server: Any, phone: Any, what: str
) -> None:
    """Scenario 28: neither its yes nor its no: the queue, the cursor and the login are kept."""
    seen = phone["work_orders"].create({"title": "Seen"})
    phone.sync()
    phone["work_orders"].update(seen, {"title": "Mine"})
    cursor = phone.client._engine._store.get_meta("cursor")
    server._route = lambda *given: WHAT_STANDS_BETWEEN[what]

    with pytest.raises(fieldsync.Unreachable):
        phone.sync()

    store = phone.client._engine._store
    assert (store.get_meta("cursor"), store.get_meta("access")) == (cursor, "access-1")
    assert counts(phone) == (0, 1, 0, 0)
    assert phone["work_orders"].get(seen).data["title"] == "Mine"
    del server._route
    phone.sync()
    assert server.live("work_orders")[seen]["title"] == "Mine"
    assert counts(phone) == NOTHING_WAITS


@pytest.mark.parametrize("what", ["sync/push", "sync/pull"])
def test_answer_cut_at_any_byte_is_no_answer(server: Any, phone: Any, what: str) -> None:
    """Scenario 28: half an answer is asked for again; it is never applied in part."""
    server.can_stream = False
    cut_at, lengths = 0, [1]

    def cut(request: httpx2.Request) -> httpx2.Response:
        whole: httpx2.Response = handle(request)
        if not request.url.path.endswith(what) or not is_cutting:
            return whole
        is_cutting.clear()
        lengths.append(len(whole.content))
        return httpx2.Response(200, headers=whole.headers, content=whole.content[:cut_at])

    handle, is_cutting = server.handle, [True]
    server.handle = cut
    phone.restart()
    rows = phone["work_orders"]
    while cut_at < lengths[-1]:  # ends: each answer is a few hundred bytes
        is_cutting[:] = [True]
        rows.create({"title": f"cut at {cut_at}"})
        assert phone.sync().retries == 1
        assert counts(phone) == NOTHING_WAITS
        cut_at += 7

    assert cut_at > 100
    assert phone.view("work_orders") == server.live("work_orders")
    assert len(server.applied) == len(rows.all())
    sent = {key: json.loads(body) for key, body in server.pushes()}
    assert len(sent) == len(set(server.pushes()))
