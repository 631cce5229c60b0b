"""`manage.py import_repairs FILE --tenant wales`: real repair jobs as work orders."""

from __future__ import annotations

import dataclasses
import json
from argparse import ArgumentParser
from itertools import islice
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from backend.accounts.models import Tenant
from backend.fieldwork.repairs import NotRepairs, read_lines
from backend.fieldwork.repairs_import import BATCH_JOBS, Import, Progress

BAD_LINES_SHOWN = 20


class Command(BaseCommand):
    """Import repair jobs."""

    help = (
        "Import repair jobs from a CSV file of the Open Repair Alliance. "
        "A second import of the same file changes nothing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("file", type=Path, metavar="FILE")
        parser.add_argument("--tenant", required=True, metavar="SLUG")
        parser.add_argument("--limit", type=_count, metavar="N", help="stop after N lines")
        parser.add_argument(
            "--batch",
            type=_count,
            default=BATCH_JOBS,
            metavar="N",
            help=f"lines a transaction (default: {BATCH_JOBS})",
        )
        parser.add_argument("--strict", action="store_true", help="exit with 1 on bad lines")
        parser.add_argument("--json", action="store_true", help="print the summary as JSON")

    def handle(self, **options: Any) -> None:
        """Import, and say what became of it.

        Raises:
            CommandError: no such file or tenant, no repair data, or bad lines under --strict.
        """
        job = Import(_find_tenant(options["tenant"]))
        try:
            lines = islice(read_lines(options["file"]), options["limit"])
            for progress in job.run(lines, options["batch"]):
                self.stderr.write(f"{progress.jobs:,} jobs …")
        except (OSError, NotRepairs) as error:
            message = f"{options['file']}: {error}"
            raise CommandError(message) from error
        self._report(job.progress, as_json=options["json"])
        if options["strict"] and job.progress.bad:
            message = f"{len(job.progress.bad)} lines were skipped."
            raise CommandError(message)

    def _report(self, progress: Progress, *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps(dataclasses.asdict(progress)))
            return
        self.stdout.write(
            f"{progress.jobs:,} jobs: {progress.created:,} rows created, "
            f"{progress.kept:,} were there, {len(progress.bad):,} lines skipped"
        )
        for bad in progress.bad[:BAD_LINES_SHOWN]:
            self.stdout.write(f"  line {bad.line}: {bad.reason}")
        if len(progress.bad) > BAD_LINES_SHOWN:
            self.stdout.write(f"  … and {len(progress.bad) - BAD_LINES_SHOWN} more")


def _find_tenant(slug: str) -> Tenant:
    found = Tenant.objects.filter(slug=slug).first()
    if found is None:
        known = ", ".join(Tenant.objects.values_list("slug", flat=True)) or "none"
        message = f"There is no tenant {slug!r}; there are: {known}."
        raise CommandError(message)
    return found


def _count(text: str) -> int:
    """Return a number of at least 1, as argparse wants it."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number
