"""The daily jobs: when they are due, what is told of them, how they end."""

from __future__ import annotations

import datetime as dt
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from backend.jobs.schedule import JOBS, Scheduler, wait_s
from tests.owner import direct_url

ROOT = Path(__file__).parents[2]
THREE = dt.time(3)
WAIT_S = 60


@pytest.mark.parametrize(
    ("now", "hours"),
    [("02:59:59", 1 / 3600), ("03:00:00", 24), ("03:00:01", 24 - 1 / 3600), ("23:00:00", 4)],
)
def test_due_once_a_day(now: str, hours: float) -> None:
    moment = dt.datetime.combine(dt.date(2026, 2, 28), dt.time.fromisoformat(now), tzinfo=dt.UTC)

    assert wait_s(moment, THREE) == pytest.approx(hours * 3600)


def test_jobs_run_against_the_database(
    transactional_db: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each as the process that it is in the container; its report is in the log."""
    monkeypatch.setenv("DATABASE_URL", direct_url())
    caplog.set_level(logging.INFO, "backend.jobs")

    failed = Scheduler(at=THREE).run_once()

    assert failed == 0
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("backend.jobs")]  # fmt: skip
    assert [line.split(":")[0] for line in lines] == [job[0] for job in JOBS]
    assert '"findings": 0' in lines[1]


def test_failed_job_is_told_and_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    jobs = [("no_such_command",), ("version",)]
    caplog.set_level(logging.INFO, "backend.jobs")

    failed = Scheduler(at=THREE, jobs=jobs).run_once()

    assert failed == 1
    first, second = caplog.records
    assert (first.levelname, second.levelname) == ("ERROR", "INFO")
    assert "Unknown command: 'no_such_command'" in first.getMessage()


def test_scheduler_ends_when_told_to() -> None:
    """A container that is stopped does not wait for three o'clock."""
    with subprocess.Popen(  # noqa: S603  # our own
        [sys.executable, "-u", "-c", _TOLD, str(ROOT / "manage.py")],
        cwd=ROOT, env={**os.environ, "DATABASE_URL": "postgresql://nowhere/none"},
        stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"

        process.send_signal(signal.SIGTERM)

        assert process.wait(WAIT_S) == 0


# The command itself, that says when it has begun to wait.
_TOLD = """
import sys
from django.core.management import execute_from_command_line
from backend.jobs import schedule

def told(now, at, wait_s=schedule.wait_s):
    print("waiting")
    return wait_s(now, at)

schedule.wait_s = told
import os
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backend.settings.demo")
execute_from_command_line([sys.argv[1], "run_jobs"])
"""


def test_job_that_runs_is_ended_with_the_scheduler() -> None:
    scheduler = Scheduler(at=THREE, jobs=[("shell", "-c", "import time; time.sleep(600)"), ("version",)])  # fmt: skip
    thread = threading.Thread(target=scheduler.run_once, daemon=True)
    thread.start()
    while scheduler._process is None:
        assert thread.is_alive()

    scheduler.stop()

    thread.join(WAIT_S)
    assert not thread.is_alive()
