"""`manage.py seed_demo`: the demo's tenants, people and rows. Runs as often as one likes."""

from __future__ import annotations

import dataclasses
import json
from argparse import ArgumentParser
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from backend.fieldwork.demo_seed import PASSWORD, Seeded, seed

SAFE_SETTINGS: Final = frozenset({"backend.settings.demo", "backend.settings.test"})


class Command(BaseCommand):
    """Fill in the demo's data."""

    help = "Make the demo's tenants, users and rows; what exists already is left alone."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--yes",
            action="store_true",
            help="seed outside demo and test settings too: makes users with a known password",
        )
        parser.add_argument("--json", action="store_true", help="print the summary as JSON")

    def handle(self, **options: Any) -> None:
        """Seed, and say what there is.

        Raises:
            CommandError: these are not demo or test settings, and nobody said --yes.
        """
        if settings.SETTINGS_MODULE not in SAFE_SETTINGS and not options["yes"]:
            message = (
                f"seed_demo makes users with the password {PASSWORD!r}, one of them a superuser. "
                f"These are not demo settings ({settings.SETTINGS_MODULE}); say --yes to go on."
            )
            raise CommandError(message)
        seeded = seed()
        if options["json"]:
            self.stdout.write(json.dumps([_as_json(each) for each in seeded]))
            return
        for each in seeded:
            rows = ", ".join(f"{count} {name}" for name, count in each.rows.items())
            users = ", ".join(f"{name} ({role})" for name, role in each.users.items())
            self.stdout.write(f"{each.tenant.slug}: {rows}; {each.created} of them new")
            self.stdout.write(f"  users {users}, password {PASSWORD!r}")


def _as_json(seeded: Seeded) -> dict[str, Any]:
    fields = dataclasses.asdict(dataclasses.replace(seeded, tenant=None))  # type: ignore[arg-type]
    return {**fields, "tenant": {"id": str(seeded.tenant.id), "slug": seeded.tenant.slug}}
