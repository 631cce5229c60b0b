"""`manage.py tenant_delete SLUG`: all that is a suspended tenant's, for good."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from backend.tenants.asked import add_tenant, find_tenant
from backend.tenants.removal import NotGone, NotSuspended, delete_tenant
from backend.tenants.tables import count_rows, list_tables

if TYPE_CHECKING:
    from backend.accounts.models import Tenant


class Command(BaseCommand):
    """Delete a tenant."""

    help = (
        "Delete a suspended tenant for good: rows, feed, receipts, devices, keys, and people who "
        "are members of no other. May run beside traffic; backups still have it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        add_tenant(parser)
        parser.add_argument("--yes", action="store_true", help="do not ask")
        parser.add_argument("--dry-run", action="store_true", help="count, and delete nothing")

    def handle(self, **options: Any) -> None:
        """Say what will go, ask, delete, and report.

        Raises:
            CommandError: no such tenant, an open one, nobody said yes, or something is left.
        """
        tenant = find_tenant(options["tenant"])
        if options["dry_run"]:
            gone = count_rows(list_tables(), tenant.pk)
        else:
            gone = self._delete(tenant, is_asked=options["yes"])
        if options["json"]:
            report = {"tenant": tenant.slug, "dry_run": options["dry_run"], "rows": gone}
            self.stdout.write(json.dumps(report))
            return
        for name, rows in gone.items():
            if rows:
                self.stdout.write(f"{name}: {rows:,}")
        done = "would be deleted" if options["dry_run"] else "are deleted, and nothing is left"
        self.stdout.write(f"{tenant.slug}: {sum(gone.values()):,} rows {done}")

    def _delete(self, tenant: Tenant, *, is_asked: bool) -> dict[str, int]:
        if tenant.is_active:
            message = f"{tenant.slug} is open. Suspend it first: tenant_suspend {tenant.slug}"
            raise CommandError(message)
        if not is_asked:
            self._ask(tenant)
        try:
            return delete_tenant(
                tenant, lambda name, rows: self.stderr.write(f"{name}: {rows:,} …")
            )
        except (NotSuspended, NotGone) as error:
            message = f"{tenant.slug}: {error}. Run this again."
            raise CommandError(message) from error

    def _ask(self, tenant: Tenant) -> None:
        """Return if whoever runs this agrees; what cannot be asked has not agreed."""
        if not sys.stdin.isatty():
            message = "Nobody is there to ask: say --yes."
            raise CommandError(message)
        self.stderr.write(f"Type '{tenant.slug}' to delete it for good: ", ending="")
        self.stderr.flush()
        if input().strip() != tenant.slug:
            message = "Nothing was done."
            raise CommandError(message)
