"""The daily jobs, and when they are due.

    wait until the time of day -> each job as a process of its own -> a line of log each

A job that fails, or is killed, is told in the log as an error and does not keep the next one from
running. All may run beside traffic, and in two schedulers at once: they share the work.
"""

from __future__ import annotations

import datetime as dt
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sync.clock import utc_now

log = logging.getLogger(__name__)

MANAGE: Final = Path(__file__).parents[2] / "manage.py"
JOBS: Final[tuple[tuple[str, ...], ...]] = (("sync_prune", "--json"), ("sync_check", "--json"))
TOLD_CHARS_MAX: Final = 2_000  # of what a job printed
DAY: Final = dt.timedelta(days=1)


class Scheduler:
    """Runs the jobs once a day, until it is stopped."""

    def __init__(self, *, at: dt.time, jobs: Sequence[Sequence[str]] = JOBS) -> None:
        self._at = at
        self._jobs = jobs
        self._stopped = threading.Event()
        self._process: subprocess.Popen[str] | None = None

    def stop(self) -> None:
        """End the wait, and the job that runs: what it has not done, the next day's does."""
        self._stopped.set()
        if (process := self._process) is not None:
            process.terminate()

    def run_for_ever(self) -> None:
        """Wait and run, in turns."""
        while not self._stopped.wait(wait_s(utc_now(), self._at)):
            self.run_once()

    def run_once(self) -> int:
        """Run each job; return how many failed."""
        failed = 0
        for job in self._jobs:
            if self._stopped.is_set():
                break
            failed += not self._run(job)
        return failed

    def _run(self, job: Sequence[str]) -> bool:
        start = time.monotonic()
        command = [sys.executable, str(MANAGE), *job]
        with subprocess.Popen(  # noqa: S603  # our own
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            self._process = process
            if self._stopped.is_set():  # in between
                process.terminate()
            out, err = process.communicate()
            self._process = None
        took_s = time.monotonic() - start
        if process.returncode == 0:
            log.info("%s: %.0f s, %s", job[0], took_s, out.strip()[:TOLD_CHARS_MAX])
            return True
        told = f"{out.strip()} {err.strip()}"[-TOLD_CHARS_MAX:]
        log.error("%s: failed with %s, %.0f s, %s", job[0], process.returncode, took_s, told)
        return False


def wait_s(now: dt.datetime, at: dt.time) -> float:
    """Return the seconds until it is `at` next, more than none."""
    due = dt.datetime.combine(now.date(), at, tzinfo=now.tzinfo)
    if due <= now:
        due += DAY
    return (due - now).total_seconds()
