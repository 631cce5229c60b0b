"""Finding the tenant that an operator means."""

from __future__ import annotations

from uuid import UUID

from django.core.management.base import CommandError

from backend.accounts.models import Tenant


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
        slugs = Tenant.objects.values_list("slug", flat=True)[:20]
        message = f"There is no tenant {name!r}. There are: {', '.join(slugs) or 'none'}."
        raise CommandError(message)
    return found
