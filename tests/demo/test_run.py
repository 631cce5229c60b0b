"""The demo as a command: a small one to its end, and one that is told to stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # no stubs in the lock
import pytest

ROOT = Path(__file__).parents[2]
HEADER = (
    "id,data_provider,country,partner_product_category,product_category,product_category_id,brand,"
    "year_of_manufacture,product_age,repair_status,repair_barrier_if_end_of_life,group_identifier,"
    "event_date,problem"
)
END_S = 300  # a run of this size takes a fraction of it, on any machine


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    """Return a file of 120 jobs of four groups."""
    statuses = ["Fixed", "Repairable", "End of life", "Unknown"]
    lines = [
        f"x_{n},X,GBR,Toaster,Toaster,1,Acme,,,{statuses[n % 4]},,Group {n % 4},2024-0{1 + n % 9}-01,Broken {n}"
        for n in range(120)
    ]
    path = tmp_path / "jobs.csv"
    path.write_text("\n".join([HEADER, *lines]))
    return path


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which the demo starts services of its own, in a folder we watch."""
    place = Path(tempfile.mkdtemp(prefix="fsd-", dir="/tmp"))  # short, for sockets
    place.chmod(0o777)
    given = {"DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE"}
    kept = {name: value for name, value in os.environ.items() if name not in given}
    return {**kept, "TMPDIR": str(place), "PYTHONUNBUFFERED": "1"}


def start(jobs: Path, environ: dict[str, str], *options: str) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "backend.demo",
        "--devices",
        "3",
        "--rows",
        "15",
        "--data",
        str(jobs),
    ]
    return subprocess.Popen(  # noqa: S603  # our own command
        [*command, *options],
        cwd=ROOT,
        env=environ,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_small_run_is_proven(jobs: Path, environ: dict[str, str]) -> None:
    """All figures for a machine to read, and nothing left lying about."""
    out, err = start(jobs, environ, "--json", "--seed", "3").communicate(timeout=END_S)

    figures = json.loads(out)
    assert figures["ok"], figures
    assert figures["differences"] == []
    assert figures["mutations_made"] == figures["rows_pushed"] > 0
    assert figures["outcomes"]["created"] > 0
    assert figures["metrics"]["rows"] == figures["outcomes"]
    assert figures["metrics"]["replays"] >= figures["replays"]
    assert {"not_found", "dependency_failed"} & figures["outcomes"].keys(), "no late work"
    assert sum(figures["faults"].values()) > 0, err
    assert list(Path(environ["TMPDIR"]).iterdir()) == []


@pytest.mark.parametrize(
    "moment",
    [
        "Starting PostgreSQL",
        "Migrating",
        "Starting the server",
        "First sync",
        "Meanwhile",
        "All reconnect",
    ],
)
def test_told_to_stop_it_leaves_nothing(moment: str, jobs: Path, environ: dict[str, str]) -> None:
    """At any moment: no process, no folder, and the status that a shell expects."""
    demo = start(jobs, environ)
    assert demo.stdout is not None
    for line in demo.stdout:
        if moment in line:
            break
    children = psutil.Process(demo.pid).children(recursive=True)

    demo.send_signal(signal.SIGTERM)
    _, err = demo.communicate(timeout=END_S)

    assert demo.returncode == 128 + signal.SIGTERM, err
    assert "Traceback" not in err
    psutil.wait_procs(children, timeout=END_S)
    assert [child for child in children if child.is_running()] == []
    assert list(Path(environ["TMPDIR"]).iterdir()) == []
