"""`manage.py tenant_import FILE`: a tenant out of an archive."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from django.core.management.base import BaseCommand, CommandError

from backend.tenants.archive import ArchiveInvalid, Reader
from backend.tenants.asked import tell_now_and_then
from backend.tenants.transfer import CannotImport, read_archive
from sync import audit

if TYPE_CHECKING:
    from backend.accounts.models import Tenant

STDIN: Final = "-"
FINDINGS_SHOWN: Final = 10


class Command(BaseCommand):
    """Import a tenant."""

    help = (
        "Write a tenant out of an archive of tenant_export into this installation, all of it or "
        "nothing. Its feed gets a new epoch: devices log in again, and pull afresh."
    )
    requires_migrations_checks = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("file", metavar="FILE", help=f"the archive; {STDIN} is stdin")
        parser.add_argument("--slug", help="another slug than the one that it has")
        parser.add_argument("--json", action="store_true", help="print the report as JSON")

    def handle(self, **options: Any) -> None:
        """Import, prove that rows and feed agree, and report.

        Raises:
            CommandError: no archive, no whole one, or one that does not fit; or findings.
        """
        try:
            if options["file"] == STDIN:
                tenant, rows = self._read(sys.stdin.buffer, options["slug"])
            else:
                with Path(options["file"]).open("rb") as file:
                    tenant, rows = self._read(file, options["slug"])
        except (OSError, ArchiveInvalid, CannotImport) as error:
            message = f"{options['file']}: {error}. Nothing was written."
            raise CommandError(message) from error
        findings = [
            f"{each.collection}/{each.row_id} {each.kind}: {each.detail}"
            for each in audit.check(tenant.pk, audit.Tally())
        ]
        state = "open" if tenant.is_active else "suspended"
        if options["json"]:
            report = {"tenant": str(tenant.pk), "slug": tenant.slug, "rows": rows}
            self.stdout.write(json.dumps({**report, "state": state, "findings": findings}))
        else:
            self.stdout.write(f"{tenant.slug}: {rows:,} rows; it is {state}")
        if findings:
            message = f"Rows and feed do not agree: {'; '.join(findings[:FINDINGS_SHOWN])}"
            raise CommandError(message)

    def _read(self, file: IO[bytes], slug: str | None) -> tuple[Tenant, int]:
        reader = Reader(file)
        total = sum(reader.manifest.rows.values())
        tell = tell_now_and_then(self.stderr.write, total)
        return read_archive(reader, slug=slug, on_progress=tell), total
