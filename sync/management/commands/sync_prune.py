"""`manage.py sync_prune`: deletes what the engine keeps for a time only, once it is too old."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from sync import retention
from sync.clock import render_time, utc_now

if TYPE_CHECKING:
    import datetime


class Command(BaseCommand):
    """Prune."""

    help = (
        "Delete what is older than the settings say: stored answers of pushes, tombstones of the "
        "feed, settled parked mutations, and what the project keeps for a time only. "
        "May run beside traffic, and twice at once; run it daily."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--only",
            choices=list(retention.PRUNABLES),
            metavar="NAME",
            help=f"prune one of {', '.join(retention.PRUNABLES)}",
        )
        parser.add_argument(
            "--older-than-days",
            type=_count,
            metavar="N",
            help="overrule the setting; needs --only, since days mean another thing for each",
        )
        parser.add_argument("--dry-run", action="store_true", help="count, and delete nothing")
        parser.add_argument("--json", action="store_true", help="print the report as JSON")
        parser.add_argument(
            "--chunk",
            type=_count,
            default=retention.CHUNK_ROWS,
            metavar="N",
            help=f"rows a transaction (default: {retention.CHUNK_ROWS})",
        )

    def handle(self, **options: Any) -> None:
        """Prune, and report.

        Raises:
            CommandError: what is to be deleted is not old enough for that.
        """
        report = {}
        for name, before in _cutoffs(options["only"], options["older_than_days"]).items():
            found = retention.find(name, before)
            rows = sum(portion.rows for portion in found)
            if not options["dry_run"]:
                rows = self._prune(name, found, options["chunk"], rows)
            report[name] = {"older_than": render_time(before), "rows": rows}
        if options["json"]:
            self.stdout.write(json.dumps({"dry_run": options["dry_run"], **report}))
            return
        done = "would be deleted" if options["dry_run"] else "deleted"
        for name, line in report.items():
            self.stdout.write(f"{name}: {line['rows']:,} {done}, older than {line['older_than']}")

    def _prune(
        self, name: str, found: list[retention.Portion], chunk_rows: int, total: int
    ) -> int:
        gone = 0
        for gone in retention.prune(found, chunk_rows):
            self.stderr.write(f"{name}: {gone:,} of {total:,} …")
        return gone


def _cutoffs(only: str | None, days: int | None) -> dict[str, datetime.datetime]:
    """Return the time before which each thing is too old, by name."""
    if days is not None and only is None:
        message = "Say with --only what is to be pruned after that many days."
        raise CommandError(message)
    now = utc_now()
    try:
        return {
            name: retention.cutoff(name, now, days)
            for name in ([only] if only else retention.PRUNABLES)
        }
    except ValueError as error:
        raise CommandError(str(error)) from error


def _count(text: str) -> int:
    """Return a number of at least 1, as argparse wants it."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number
