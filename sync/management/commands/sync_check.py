"""`manage.py sync_check`: proves that the rows and what the feed says of them agree."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from sync import audit
from sync.findings import EXPLANATIONS, Finding

FINDINGS_LISTED: Final = 100
PROGRESS_ROWS: Final = 50_000  # rows a line of progress: one in some seconds


class Command(BaseCommand):
    """Check rows against feed."""

    help = (
        "Check for every tenant that rows and feed agree; exit with 1 if they do not. "
        "Writes nothing, and may run beside traffic."
    )
    requires_migrations_checks = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--tenant", type=UUID, metavar="ID", help="check this tenant only")
        parser.add_argument("--json", action="store_true", help="print the report as JSON")
        parser.add_argument(
            "--limit",
            type=int,
            default=FINDINGS_LISTED,
            metavar="N",
            help=f"list N findings and count the rest (default: {FINDINGS_LISTED})",
        )

    def handle(self, **options: Any) -> None:
        """Check, and report.

        Raises:
            CommandError: something is wrong, or the tenant is nowhere.
        """
        tally = audit.Tally()
        findings = self._check(_tenants(options["tenant"]), tally)
        if options["json"]:
            listed = list(islice(findings, options["limit"]))
            total = len(listed) + sum(1 for _ in findings)
            self.stdout.write(json.dumps(_report(tally, total, listed)))
        else:
            total = self._print(findings, options["limit"])
            self.stdout.write(
                f"{tally.tenants:,} tenants, {tally.rows:,} rows, {tally.changes:,} changes, "
                f"{tally.entries:,} entries: {total:,} findings"
            )
        if total:
            message = f"Rows and feed do not agree: {total:,} findings."
            raise CommandError(message)

    def _check(self, tenants: list[UUID], tally: audit.Tally) -> Iterator[Finding]:
        told = 0

        def tell() -> None:
            nonlocal told
            if tally.rows >= told + PROGRESS_ROWS:
                told = tally.rows
                self.stderr.write(f"{tally.rows:,} rows …")

        for tenant_id in tenants:
            yield from audit.check(tenant_id, tally, tell)

    def _print(self, findings: Iterator[Finding], limit: int) -> int:
        total = 0
        for finding in findings:
            total += 1
            if total <= limit:
                where = "/".join(name for name in (finding.collection, finding.row_id) if name)
                self.stdout.write(
                    f"{finding.tenant_id} {where or 'feed'} {finding.kind}: {finding.detail}"
                )
                self.stdout.write(f"    {EXPLANATIONS[finding.kind].remedy}")
        if total > limit:
            self.stdout.write(f"… and {total - limit:,} more")
        return total


def _tenants(chosen: UUID | None) -> list[UUID]:
    known = audit.list_tenants()
    if chosen is None:
        return known
    if chosen not in known:
        message = f"There is nothing of a tenant {chosen}."
        raise CommandError(message)
    return [chosen]


def _report(tally: audit.Tally, total: int, listed: list[Finding]) -> dict[str, Any]:
    return {
        "tenants": tally.tenants,
        "rows": tally.rows,
        "changes": tally.changes,
        "entries": tally.entries,
        "findings": total,
        "listed": [
            {
                "tenant": str(finding.tenant_id),
                "collection": finding.collection,
                "id": finding.row_id,
                "what": finding.kind,
                "detail": finding.detail,
                "remedy": EXPLANATIONS[finding.kind].remedy,
            }
            for finding in listed
        ],
    }
