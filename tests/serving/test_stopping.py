"""A server is told to stop while it is at work: SIGTERM, as every deployment sends it."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.serving.conftest import (
    QUEUE,
    THREADS,
    Odd,
    begin,
    fill_queue,
    read_until,
    running_odd,
    wait_until,
)

pytestmark = pytest.mark.xdist_group("serving")

LOCK = 7
ENDED_BY_SIGTERM = 128 + signal.SIGTERM  # as uvicorn ends, when it has finished


@pytest.fixture
def odd(django_db_setup: None, tmp_path: Path) -> Iterator[Odd]:
    """Return a server of our own."""
    with running_odd(tmp_path) as odd:
        yield odd


def stop(odd: Odd) -> None:
    """Tell the server to stop."""
    odd.server.child.send(signal.SIGTERM)


def read_to_end(link: socket.socket) -> bytes:
    """Return what comes until the server hangs up."""
    return b"".join(iter(lambda: link.recv(65_536), b""))


def wait_until_it_closes(odd: Odd) -> None:
    """Return when it takes no new connections any more."""

    def is_refused() -> bool:
        try:
            socket.create_connection(("127.0.0.1", odd.server.port)).close()
        except ConnectionRefusedError:
            return True
        return False

    wait_until(is_refused)


def test_requests_under_way_are_answered(odd: Odd) -> None:
    """Those that a thread has, and those that wait for one; then it ends, with no error."""
    with ExitStack() as cleanup:
        with odd.threads_taken(LOCK):
            links = [cleanup.enter_context(begin(odd, f"wait/{LOCK}")) for _ in range(THREADS)]
            odd.wait_until_standing(THREADS, LOCK)
            links += [cleanup.enter_context(link) for link in fill_queue(odd)]
            stop(odd)
            wait_until_it_closes(odd)
        heads = [read_until(link, b"\r\n\r\n") for link in links]

    assert [head.split()[1] for head in heads] == [b"200"] * (THREADS + QUEUE)
    assert odd.server.child.wait() == ENDED_BY_SIGTERM
    assert "ERROR" not in odd.server.child.log_tail()


def test_streams_end_and_their_clients_know_it(odd: Odd) -> None:
    """One that listens ends by itself; one that does not is cut, and is no whole answer."""
    with begin(odd, "stream/polite") as polite, begin(odd, "stream/deaf") as deaf:
        for link in (polite, deaf):
            read_until(link, b"7\n")

        stop(odd)

        assert read_to_end(polite).endswith(b"the end\n\r\n0\r\n\r\n")
        assert not read_to_end(deaf).endswith(b"\r\n0\r\n\r\n")

    assert odd.server.child.wait() == ENDED_BY_SIGTERM
    assert (odd.folder / "polite-closed").exists()
    assert (odd.folder / "deaf-closed").exists()


def test_held_requests_are_answered_as_things_are(odd: Odd) -> None:
    """A phone that waits for news hears that there is none, and asks the next server."""
    with ThreadPoolExecutor(1) as clients:
        waiting = clients.submit(odd.get, "hold/1")
        odd.wait_for("holding-1")
        stop(odd)
        answer = waiting.result()

    assert answer.json() == {"held": False, "news": False}
    assert odd.server.child.wait() == ENDED_BY_SIGTERM


def test_request_without_an_end_does_not_keep_the_server(odd: Odd) -> None:
    """It is told to repeat the same request; what its transaction did, the key will know."""
    with ThreadPoolExecutor(1) as clients, odd.threads_taken(LOCK):
        standing = clients.submit(odd.get, f"wait/{LOCK}")
        odd.wait_until_standing(1, LOCK)
        stop(odd)
        answer = standing.result()
        status = odd.server.child.wait()

    assert (answer.status_code, answer.json()["code"]) == (503, "temporarily_unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert status == ENDED_BY_SIGTERM


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_idle_server_ends_at_once(odd: Odd, signum: signal.Signals) -> None:
    """Its sessions in the database end with it."""
    assert [odd.get("rows/0").status_code for _ in range(THREADS)] == [200] * THREADS

    odd.server.child.send(signum)
    odd.server.child.wait()

    found = odd.database.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND query LIKE '%generate_series%' AND pid <> pg_backend_pid()"
    ).fetchone()
    assert found == (0,)
