"""`manage.py sync_new_epoch`: after a restore, tells devices that history is another one now."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from sync import audit, epochs

WHAT_FOLLOWS = (
    "Their devices are told 410 epoch_changed at the next pull: they pull afresh, keep their "
    "outboxes, and push again what no pull had shown them."
)


class Command(BaseCommand):
    """Start new epochs."""

    help = (
        "Give feeds a new epoch after their database was restored, so that no device goes on from "
        "a history that is not there any more. May run beside traffic."
    )
    requires_migrations_checks = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("--tenant", type=UUID, metavar="ID", help="the feed of this tenant")
        which.add_argument("--all", action="store_true", help="the feeds of all tenants")
        parser.add_argument("--yes", action="store_true", help="do not ask")
        parser.add_argument("--json", action="store_true", help="print the report as JSON")

    def handle(self, **options: Any) -> None:
        """Say what will be done, ask, and do it.

        Raises:
            CommandError: the tenant is nowhere, or nobody said yes.
        """
        tenants = _tenants(options["tenant"])
        if not options["yes"]:
            self._ask(tenants)
        started = [_start(tenant_id) for tenant_id in tenants]
        if options["json"]:
            self.stdout.write(json.dumps(started))
            return
        for line in started:
            self.stdout.write(
                "{tenant}: epoch {epoch}, head {head:,}, floor {floor:,}".format(**line)
            )
        self.stdout.write(f"{len(started):,} new epochs. {WHAT_FOLLOWS}")

    def _ask(self, tenants: list[UUID]) -> None:
        """Return if whoever runs this agrees; what cannot be asked has not agreed."""
        self.stderr.write(f"{len(tenants):,} tenants get a new epoch. {WHAT_FOLLOWS}")
        if not sys.stdin.isatty():
            message = "Nobody is there to ask: say --yes."
            raise CommandError(message)
        self.stderr.write("Type 'yes' to go on: ", ending="")
        self.stderr.flush()
        if input().strip() != "yes":
            message = "Nothing was done."
            raise CommandError(message)


def _tenants(chosen: UUID | None) -> list[UUID]:
    known = audit.list_tenants()
    if chosen is None:
        return known
    if chosen not in known:
        message = f"There is nothing of a tenant {chosen}."
        raise CommandError(message)
    return [chosen]


def _start(tenant_id: UUID) -> dict[str, Any]:
    stream = epochs.start_epoch(tenant_id)
    return {
        "tenant": str(tenant_id),
        "epoch": str(stream.epoch),
        "head": stream.head,
        "floor": stream.floor,
    }
