"""Threads: an app edits in one thread and syncs in another, on one client."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from typing import Any

ORDER = {"title": "Replace the pump seal"}
WAIT_S = 20.0  # a bound, never reached
OVERLAP_WAIT_S = 0.2  # how long a request gives others the chance to come at the same time


def test_worker_thread_may_sync_what_another_thread_has_edited(server: Any, phone: Any) -> None:
    """Phones sync in the background; the client was made in the foreground."""
    row_id = phone["work_orders"].create(ORDER)

    with ThreadPoolExecutor(1) as worker:
        report = worker.submit(phone.sync).result(WAIT_S)

    assert report.pushed == 1
    assert phone["work_orders"].get(row_id).version == 1


def test_edits_do_not_wait_for_a_sync_on_a_slow_link(server: Any, phone: Any) -> None:
    """The lock of the store is never held while a request is under way."""
    row_id = phone["work_orders"].create(ORDER)
    is_under_way, is_edited = Event(), Event()

    def hold(path: str) -> None:
        server.before_answer = lambda path: None
        is_under_way.set()
        assert is_edited.wait(WAIT_S)

    server.before_answer = hold
    with ThreadPoolExecutor(1) as worker:
        running = worker.submit(phone.sync)
        assert is_under_way.wait(WAIT_S)
        phone["work_orders"].update(row_id, {"title": "Edited meanwhile"})
        is_edited.set()
        report = running.result(WAIT_S)

    assert dict(report.outcomes) == {"created": 1, "updated": 1}
    assert server.live("work_orders")[row_id]["title"] == "Edited meanwhile"


def test_two_syncs_at_once_send_everything_once(server: Any, phone: Any) -> None:
    """The second waits for the first, and finds nothing left to do."""
    for at in range(20):
        phone["work_orders"].create({"title": str(at)})
    start, is_overlap, under_way, most = Barrier(4), Event(), [], []
    handle = server.handle

    def count(request: Any) -> Any:
        under_way.append(1)
        most.append(len(under_way))
        if len(under_way) > 1:
            is_overlap.set()
        is_overlap.wait(OVERLAP_WAIT_S)
        try:
            return handle(request)
        finally:
            under_way.pop()

    server.handle = count
    phone.restart()

    def sync(_: int) -> int:
        start.wait(WAIT_S)
        return int(phone.sync().pushed)

    with ThreadPoolExecutor(4) as workers:
        pushed = sum(workers.map(sync, range(4), timeout=WAIT_S))

    assert (pushed, len(server.applied), max(most)) == (20, 20, 1)


def test_threads_edit_the_same_row_and_nothing_is_lost(server: Any, phone: Any) -> None:
    """Each edit is one transaction, whoever makes it, also while a sync is under way."""
    row_id = phone["work_orders"].create(ORDER)
    start = Barrier(5)

    def edit(at: int) -> None:
        start.wait(WAIT_S)
        for number in range(10):
            phone["work_orders"].update(row_id, {f"field_{at}": number})
            assert phone["work_orders"].get(row_id).data[f"field_{at}"] == number

    def sync() -> None:
        start.wait(WAIT_S)
        for _ in range(5):
            phone.sync()

    with ThreadPoolExecutor(5) as workers:
        syncing = workers.submit(sync)
        list(workers.map(edit, range(4), timeout=WAIT_S))
        syncing.result(WAIT_S)
    phone.sync()

    row = server.live("work_orders")[row_id]
    assert [row[f"field_{at}"] for at in range(4)] == [9, 9, 9, 9]
    assert phone.client.issues() == []
    assert phone.view("work_orders") == server.live("work_orders")
