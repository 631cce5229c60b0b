"""`manage.py tenant_suspend SLUG`: nobody of a tenant gets in, until it is resumed."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from backend.tenants.asked import add_tenant, find_tenant


class Command(BaseCommand):
    """Suspend a tenant."""

    help = (
        "Refuse all requests of a tenant's devices and API keys from now on; phones keep their "
        "work, and send it when the tenant is resumed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        add_tenant(parser)
        parser.add_argument("--resume", action="store_true", help="let it in again")

    def handle(self, **options: Any) -> None:
        """Suspend or resume; again is harmless.

        Raises:
            CommandError: no such tenant.
        """
        tenant = find_tenant(options["tenant"])
        tenant.is_active = options["resume"]
        tenant.save(update_fields=["is_active"])
        state = "open" if tenant.is_active else "suspended"
        devices = tenant.devices.filter(revoked_at=None).count()
        if options["json"]:
            self.stdout.write(json.dumps({"tenant": tenant.slug, "state": state}))
        else:
            self.stdout.write(f"{tenant.slug} is {state}; it has {devices:,} devices")
