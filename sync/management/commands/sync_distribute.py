"""`manage.py sync_distribute`: spreads the tables over the nodes of a Citus cluster, by tenant."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from sync import distribution


class Command(BaseCommand):
    """Distribute."""

    help = (
        "Spread the tables over the nodes of a Citus cluster: those with a tenant by tenant, a "
        "copy of all others on each. Without Citus, or with --dry-run, say what would be done."
    )
    requires_migrations_checks = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--dry-run", action="store_true", help="say it, and do nothing")
        parser.add_argument("--json", action="store_true", help="print the report as JSON")

    def handle(self, **options: Any) -> None:
        """Find faults, and do what is not done yet.

        Raises:
            CommandError: a constraint cannot be kept in a cluster; nothing was done.
        """
        steps = distribution.plan()
        if faults := distribution.find_faults(steps):
            message = "These cannot be kept in a cluster:\n  " + "\n  ".join(faults)
            raise CommandError(message)
        is_cluster = distribution.is_cluster()
        done = distribution.list_done() if is_cluster else set()
        is_real = is_cluster and not options["dry_run"]
        due = [step for step in steps if step.table not in done]
        for number, step in enumerate(due, start=1):
            if is_real:
                self.stderr.write(f"{number} of {len(due)}: {step.table} …")
                distribution.carry_out(step)
        if options["json"]:
            self.stdout.write(json.dumps(_report(due, is_cluster=is_cluster, is_real=is_real)))
            return
        for step in due:
            self.stdout.write(f"{step.sql};  -- {step.reason}")
        verb = "were given their place" if is_real else "would be given their place"
        note = "" if is_cluster else " Citus is not installed in this database: nothing was done."
        self.stdout.write(f"{len(due)} tables {verb}, {len(done)} have it already.{note}")


def _report(due: list[distribution.Step], *, is_cluster: bool, is_real: bool) -> dict[str, Any]:
    return {
        "citus": is_cluster,
        "done": is_real,
        "tables": [
            {
                "table": step.table,
                "place": "distributed" if step.is_distributed else "reference",
                "reason": step.reason,
                "sql": step.sql,
            }
            for step in due
        ],
    }
