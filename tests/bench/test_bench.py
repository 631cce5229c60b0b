"""The bench as a command: small runs to their end, on servers and a database of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # no stubs in the lock
import pytest

from loadtests.bench.cases import CASES, PushCase

ROOT = Path(__file__).parents[2]
Start = Callable[..., subprocess.Popen[str]]
END_S = 300  # a run of this size takes a fraction of it, on any machine


@pytest.fixture
def environ() -> dict[str, str]:
    """Return an environment with a folder for temporary files that is watched."""
    place = Path(tempfile.mkdtemp(prefix="fsb-", dir="/tmp"))  # short, for sockets
    place.chmod(0o777)
    return {**os.environ, "TMPDIR": str(place), "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def start(environ: dict[str, str]) -> Iterator[Start]:
    """Return what starts a bench; one that a test gives up does not run on beside the others."""
    with ExitStack() as cleanup:

        def start_one(*options: str, **more_environ: str) -> subprocess.Popen[str]:
            bench = subprocess.Popen(  # noqa: S603  # our own command
                [sys.executable, "-m", "loadtests.bench", *options],
                cwd=ROOT,
                env={**environ, **more_environ},
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            cleanup.enter_context(bench)
            cleanup.callback(bench.kill)
            return bench

        yield start_one


def test_small_run_measures_every_case(
    start: Start, environ: dict[str, str], tmp_path: Path
) -> None:
    """Both servers really started, everything answered and counted; one that is slow is told."""
    file = tmp_path / "figures.json"
    small = ("--rows", "100", "--filled", "300", "--large", "1200", "--polls", "16")

    bench = start(*small, "--rounds", "1", "--check", "--target", "1000", "--json", str(file))
    out, err = bench.communicate(timeout=END_S)

    assert bench.returncode == 1, err
    figures: dict[str, Any] = json.loads(file.read_text())
    assert list(figures) == [case.name for case in CASES]
    for case in CASES:
        found = figures[case.name]
        (run,) = found["rounds"]
        assert run["floor"]["units"] == run["product"]["units"]
        if isinstance(case, PushCase):
            assert run["floor"]["units"] == case.clients * case.batch_rows
        assert found["ratio"] > 0
        assert found["is_missed"] or found["cpu_ratio"] > 1_000  # less CPU than can be measured
        assert case.title.split(",")[0] in out
    assert figures["sync"]["rounds"][0]["floor"]["units"] > 2 * 300
    assert figures["changed-large"]["rounds"][0]["product"]["units"] % 100 == 0
    assert figures["poll-8"]["rounds"][0]["floor"]["units"] == 16
    assert "large tenant beside those of a small one" in out
    assert list(Path(environ["TMPDIR"]).iterdir()) == []


def test_a_database_of_somebodys_is_left_alone(start: Start) -> None:
    """The bench fills its database; a `DATABASE_URL` that lies about must not be filled."""
    taken = "postgresql://nobody@127.0.0.1:1/none"
    options = ("--case", "new-100", "--rows", "2000", "--rounds", "1", "--workers", "1")

    bench = start(*options, "--check", "--target", "0.000001", DATABASE_URL=taken)
    _, err = bench.communicate(timeout=END_S)

    assert bench.returncode == 0, err


@pytest.mark.parametrize(
    ("case",      "size",               "module"),
    [
        ("update-100", ("--rows", "300"),   "sync/push.py"),
        ("poll",       ("--filled", "300"), "sync/feed.py"),
    ],
)  # fmt: skip
def test_profile_names_the_code_of_a_case(
    start: Start, tmp_path: Path, case: str, size: tuple[str, str], module: str
) -> None:
    """The answer to the question that a bad ratio asks."""
    file = tmp_path / "profile.txt"

    bench = start("--profile", str(file), "--case", case, *size)
    _, err = bench.communicate(timeout=END_S)

    assert bench.returncode == 0, err
    assert module in file.read_text()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_leaves_nothing(
    start: Start, environ: dict[str, str], signum: signal.Signals
) -> None:
    """In the middle of the pushes: no process, no folder, and the status a shell expects."""
    bench = start("--rows", "8000", "--rounds", "100", "--case", "tenants-8")
    clients = wait_for_pushes(bench)
    children = psutil.Process(bench.pid).children(recursive=True)

    for process in (bench, *(clients if signum == signal.SIGINT else [])):  # as a terminal does
        process.send_signal(signum)
    _, err = bench.communicate(timeout=END_S)

    assert bench.returncode == 128 + signum, err
    assert "Traceback" not in err
    psutil.wait_procs(children, timeout=END_S)
    assert [child for child in children if child.is_running()] == []
    assert list(Path(environ["TMPDIR"]).iterdir()) == []


def wait_for_pushes(bench: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the client processes, once all of them are connected to a server."""
    assert bench.stderr is not None
    assert any(line.startswith("·") for line in bench.stderr)
    clients = [
        child
        for child in psutil.Process(bench.pid).children()
        if "spawn_main" in " ".join(child.cmdline())
    ]
    assert len(clients) == 8
    deadline = time.monotonic() + END_S
    while not all(client.net_connections(kind="tcp4") for client in clients):
        assert time.monotonic() < deadline
    return clients
