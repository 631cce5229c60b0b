"""`manage.py run_jobs`: prunes and proves, once a day."""

from __future__ import annotations

import datetime as dt
import signal
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError

from backend.jobs.schedule import JOBS, Scheduler

AT: Final = "03:00"


class Command(BaseCommand):
    """Run the daily jobs."""

    help = (
        f"Run {' and '.join(name for name, *_ in JOBS)} once a day, until SIGTERM; a line of log "
        "tells what each did. For those who have a cron: --once."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--at", type=_time, default=AT, metavar="HH:MM", help=f"when, in UTC (default: {AT})"
        )
        parser.add_argument("--once", action="store_true", help="run them now, and end")

    def handle(self, **options: Any) -> None:
        """Run.

        Raises:
            CommandError: with --once, a job failed.
        """
        scheduler = Scheduler(at=options["at"])
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, lambda *_: scheduler.stop())
        if not options["once"]:
            scheduler.run_for_ever()
        elif failed := scheduler.run_once():
            message = f"{failed} of {len(JOBS)} jobs failed; the log says why."
            raise CommandError(message)


def _time(text: str) -> dt.time:
    try:
        return dt.time.fromisoformat(text)
    except ValueError as error:
        message = f"{text!r} is no time of day, as 03:00 is"
        raise ArgumentTypeError(message) from error
