"""What makes the bench's figures worth something: it notices work that was not done."""

from __future__ import annotations

import dataclasses
import http.server
import io
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from loadtests.bench.cases import CASES
from loadtests.bench.client import Job, start_clients
from loadtests.bench.errors import BenchFailed
from loadtests.bench.processes import Shares, cpu_s
from loadtests.bench.push_runs import check_counts
from loadtests.bench.report import Figures, as_json, find_growth, show
from loadtests.bench.rounds import Round, Run
from loadtests.bench.workload import Batch
from tests.bench.asking import answer

CORES = os.cpu_count() or 1
BATCH = Batch(key="k", body=b"{}", rows=2, outcome="created", version=1)
EDIT = dataclasses.replace(BATCH, outcome="updated", version=2)
GOOD = [{"index": n, "outcome": "created", "version": 1} for n in range(2)]


def body(*results: dict[str, Any]) -> bytes:
    return json.dumps({"status": "ok", "results": results}).encode()


@pytest.mark.parametrize(
    ("status", "content",                                                 "said"),
    [
        (200,  body(*GOOD),                                               None),
        (503,  b"busy",                                                   "answered 503: b'busy'"),
        (200,  body(GOOD[0]),                                             "1 results for 2 rows"),
        (200,  body(GOOD[0], GOOD[0]),                                    "results for 2 rows"),
        (200,  body(GOOD[0], {"index": 1, "outcome": "unchanged", "version": 1}), "unchanged"),
        (200,  body(GOOD[0], {"index": 1, "outcome": "created", "version": 2}),   "'version': 2"),
        (200,  body(GOOD[0], {"index": 1, "outcome": "invalid"}),         "invalid"),
    ],
)  # fmt: skip
def test_an_answer_counts_only_if_every_row_came_to_what_it_had_to(
    status: int, content: bytes, said: str | None
) -> None:
    """A server that refuses its rows is the quickest of all."""
    found = BATCH.find_failure([answer(status, content)])

    assert (found is None) if said is None else (found is not None and said in found)


@pytest.mark.parametrize(
    ("after",            "is_right"),
    [
        ((2, 4, 4, 2, 2), True),
        ((1, 4, 4, 2, 2), False),  # a row is missing
        ((2, 3, 4, 2, 2), False),  # an edit
        ((2, 4, 3, 2, 2), False),  # a seq
        ((2, 4, 4, 1, 2), False),  # a change
        ((2, 4, 4, 2, 1), False),  # an answer
        ((3, 4, 4, 2, 2), False),  # somebody else's row
    ],
)  # fmt: skip
def test_tables_must_have_grown_by_what_was_sent(after: tuple[int, ...], is_right: bool) -> None:
    """An answer is only a promise; rows, versions, seqs, changes and answers are the work."""
    before, grown = (10, 20, 30, 40, 50), after
    now = [b + g for b, g in zip(before, grown, strict=True)]

    if is_right:
        check_counts(before, now, [BATCH, EDIT])
    else:
        with pytest.raises(BenchFailed, match="instead of"):
            check_counts(before, now, [BATCH, EDIT])


class Sham(http.server.BaseHTTPRequestHandler):
    """Does no work at all; answers its server's `pushed` answers, one after the other."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.respond(404, b"{}")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        answers: Iterator[tuple[int, bytes]] = self.server.answers  # type: ignore[attr-defined]
        self.respond(*next(answers))

    def respond(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def sham() -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sham) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def job(server: http.server.ThreadingHTTPServer, *answers: tuple[int, bytes]) -> Job:
    server.answers = iter(answers)  # type: ignore[attr-defined]
    return Job(port=server.server_port, headers={}, warm_up=[BATCH], works=[BATCH, BATCH])


def test_a_failed_push_fails_the_bench(sham: http.server.ThreadingHTTPServer) -> None:
    """During the warm-up, while the clock runs, and afterwards the client is as good as before."""
    good, bad = (200, body(*GOOD)), (503, b"busy")
    with start_clients(1) as clients:
        with pytest.raises(BenchFailed, match="503"):
            clients.prepare([job(sham, bad)], is_kept=lambda _port: True)

        clients.prepare([job(sham, good, good, bad)], is_kept=lambda _port: True)
        clients.go()
        with pytest.raises(BenchFailed, match="503"):
            clients.check()

        clients.prepare([job(sham, good, good, good)], is_kept=lambda _port: True)
        assert clients.go() > 0
        clients.check()


def test_a_client_connects_again_until_its_connection_is_kept(
    sham: http.server.ThreadingHTTPServer,
) -> None:
    """It is the driver who sees which process of the server has taken it."""
    seen: list[int] = []

    def is_kept(port: int) -> bool:
        seen.append(port)
        return len(seen) == 3

    with start_clients(1) as clients:
        clients.prepare([job(sham, *[(200, body(*GOOD))] * 3)], is_kept=is_kept)
        clients.go()
        clients.check()

    assert len(set(seen)) == 3


def test_no_process_gets_more_than_its_share() -> None:
    """One that is quick to accept took all eight clients: half the server was measured."""
    shares = Shares(os.getpid(), processes=2, connections=3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        clients = [socket.create_connection(server.getsockname()) for _ in range(3)]
        accepted = [server.accept()[0] for _ in range(3)]
        ports = [client.getsockname()[1] for client in clients]

        kept = [shares.is_kept(port) for port in ports]

        for link in (*clients, *accepted):
            link.close()
    assert kept == [True, True, False]
    assert not shares.is_kept(1)  # nobody's connection


def test_cpu_of_children_that_ended_is_counted() -> None:
    """PostgreSQL's processes come and go in the middle of a run."""
    before = cpu_s(os.getpid())
    work = "import os\nwhile sum(os.times()[:2]) < 0.3: pass"

    subprocess.run([sys.executable, "-c", work], check=True)  # noqa: S603  # our own command

    assert cpu_s(os.getpid()) - before > 0.2


def figures(
    *ratios: float, target: float | None, foreign_cpu_s: float = 0, product_cpu_s: float = 1
) -> Figures:
    def run(seconds: float, cpu_s: float) -> Run:
        return Run(
            units=1_000,
            seconds=seconds,
            server_cpu_s=cpu_s / 2,
            database_cpu_s=cpu_s / 2,
            foreign_cpu_s=foreign_cpu_s * seconds,
        )

    rounds = [Round(floor=run(1, 1), product=run(1 / ratio, product_cpu_s)) for ratio in ratios]
    return Figures(case=CASES[0], rounds=rounds, target=target)


@pytest.mark.parametrize(
    ("ratios",          "target", "is_missed"),
    [
        ((0.5, 0.6, 0.9), 0.6,    False),
        ((0.5, 0.5, 0.9), 0.6,    True),
        ((0.5, 0.5, 0.9), None,   False),
    ],
)  # fmt: skip
def test_the_median_of_the_rounds_is_judged(
    ratios: tuple[float, ...], target: float | None, is_missed: bool
) -> None:
    """One round in which the machine was busy with something else decides nothing."""
    found = figures(*ratios, target=target)

    assert found.is_missed is is_missed
    assert as_json([found])["new-500"]["is_missed"] is is_missed


def test_a_busy_machine_is_judged_by_cpu() -> None:
    """Waiting for others is the same for both sides: by the clock it makes any product look good."""
    found = figures(0.9, target=0.6, foreign_cpu_s=0.5 * CORES, product_cpu_s=2)

    out = io.StringIO()
    show([found], Console(file=out, width=200))

    assert found.ratio > 0.6
    assert found.cpu_ratio == 0.5
    assert found.is_missed
    assert "Others used up to 50% of this machine." in out.getvalue()


def test_work_too_short_to_be_counted_is_not_free() -> None:
    """A run of less than a tick would be endlessly fast, and meet any target on a busy machine."""
    found = figures(0.9, target=1_000, foreign_cpu_s=0.5 * CORES, product_cpu_s=0)

    assert found.cpu_ratio == 100  # a second beside a tick
    assert found.is_missed


def test_a_machine_of_its_own_is_judged_by_the_clock() -> None:
    """There a lock that is waited for counts, as it does for a device."""
    found = figures(0.5, target=0.6, foreign_cpu_s=0.05 * CORES, product_cpu_s=1)

    out = io.StringIO()
    show([found], Console(file=out, width=200))

    assert found.is_missed
    assert "Others" not in out.getvalue()


def test_a_large_tenant_is_set_beside_a_small_one() -> None:
    """The same hundred rows cost the same, however many lie behind them: or this says otherwise."""
    small, large = figures(1.0, target=None), figures(0.5, target=None, product_cpu_s=3)
    named = [
        dataclasses.replace(found, case=next(c for c in CASES if c.name == name))
        for found, name in ((small, "changed"), (large, "changed-large"))
    ]

    out = io.StringIO()
    show(named, Console(file=out, width=200))

    assert find_growth(named) == (1.0, 3.0, 1.0, 2.0)
    assert "CPU 1.00 / 3.00, time 1.00 / 2.00" in out.getvalue()
    assert find_growth(named[:1]) is None


def test_requests_are_not_called_rows() -> None:
    """Where nothing comes, requests are counted; the table says so."""
    poll = dataclasses.replace(
        figures(1.0, target=None), case=next(c for c in CASES if c.name == "poll")
    )

    out = io.StringIO()
    show([poll, figures(1.0, target=None)], Console(file=out, width=200))

    told = [line for line in out.getvalue().splitlines() if "1,000 / 1,000" in line]
    assert ["1,000 / 1,000 r " in line for line in told] == [True, False]
