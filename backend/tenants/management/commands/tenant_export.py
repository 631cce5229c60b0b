"""`manage.py tenant_export SLUG FILE`: one tenant as an archive."""

from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from django.core.management.base import BaseCommand, CommandError

from backend.tenants.asked import add_tenant, find_tenant, tell_now_and_then
from backend.tenants.transfer import write_archive

if TYPE_CHECKING:
    from backend.accounts.models import Tenant
    from backend.tenants.archive import Manifest

STDOUT: Final = "-"
ONLY_MINE: Final = 0o600  # password hashes are in it, and whatever the tenant's people wrote


class Command(BaseCommand):
    """Export a tenant."""

    help = (
        "Write one tenant with its people, devices, rows and feed to an archive, for "
        "tenant_import elsewhere. Reads one snapshot; to move a tenant, suspend it first "
        "(tenant_suspend)."
    )
    requires_migrations_checks = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        add_tenant(parser)
        parser.add_argument("file", metavar="FILE", help=f"the archive; {STDOUT} is stdout")

    def handle(self, **options: Any) -> None:
        """Export, and report.

        Raises:
            CommandError: no such tenant, or the file cannot be written.
        """
        tenant = find_tenant(options["tenant"])
        if tenant.is_active:
            self.stderr.write(
                f"{tenant.slug} is open: what its phones send from now on is not in the archive."
            )
        if options["file"] == STDOUT:
            self._write(tenant, sys.stdout.buffer)
            return
        try:
            manifest = self._write_file(tenant, Path(options["file"]))
        except OSError as error:
            raise CommandError(str(error)) from error
        rows = sum(manifest.rows.values())
        if options["json"]:
            report = {"tenant": manifest.tenant, "file": options["file"], "rows": manifest.rows}
            self.stdout.write(json.dumps(report))
        else:
            self.stdout.write(f"{tenant.slug}: {rows:,} rows in {options['file']}")

    def _write_file(self, tenant: Tenant, path: Path) -> Manifest:
        """Write beside the name, which an archive gets only as a whole."""
        part = path.with_name(f"{path.name}.part")
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, ONLY_MINE)
        try:
            with os.fdopen(handle, "wb") as file:
                manifest = self._write(tenant, file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return manifest

    def _write(self, tenant: Tenant, file: IO[bytes]) -> Manifest:
        return write_archive(tenant, file, tell_now_and_then(self.stderr.write))
