"""What all commands of tenants share: which tenant is meant, and progress by rows."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable
from typing import Final
from uuid import UUID

from django.core.management.base import CommandError

from backend.accounts.models import Tenant

PROGRESS_ROWS: Final = 20_000  # a line of progress
SLUGS_NAMED: Final = 20


def add_tenant(parser: ArgumentParser) -> None:
    """Declare the arguments of a command about one tenant."""
    parser.add_argument("tenant", metavar="SLUG", help="the tenant's slug or id")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def find_tenant(name: str) -> Tenant:
    """Return the tenant with this slug or id.

    Raises:
        CommandError: there is none; it names those that there are.
    """
    try:
        found = Tenant.objects.filter(pk=UUID(name)).first()
    except ValueError:
        found = Tenant.objects.filter(slug=name).first()
    if found is None:
        slugs = Tenant.objects.values_list("slug", flat=True)[:SLUGS_NAMED]
        message = f"There is no tenant {name!r}. There are: {', '.join(slugs) or 'none'}."
        raise CommandError(message)
    return found


def tell_now_and_then(
    say: Callable[[str], object], total: int | None = None
) -> Callable[[int], None]:
    """Return what is told how many rows are done, and says so every `PROGRESS_ROWS`."""
    of_all = "" if total is None else f" of {total:,}"
    told = 0

    def tell(rows: int) -> None:
        nonlocal told
        if rows >= told + PROGRESS_ROWS:
            told = rows
            say(f"{rows:,}{of_all} rows …")

    return tell
