"""Who a request comes from, and which scopes they hold: read from the database each time.

    everybody      tenant, user:<id>
    technician     territory:<t> of their own territories
    supervisor     territory:<t> of these and of all below them
    dispatcher, admin, auditor      territory:<t> of all of the tenant's

Costs at most one query beyond authentication.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING
from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef
from rest_framework.exceptions import PermissionDenied

from backend.accounts.models import Membership, Role
from backend.accounts.selectors import DeviceSession
from backend.fieldwork.collections import TENANT_SCOPE, territory_scope, user_scope
from backend.fieldwork.models import Territory
from backend.fieldwork.roles import REVIEWERS
from sync.types import Actor

if TYPE_CHECKING:
    from rest_framework.request import Request


def resolve_actor(request: Request) -> Actor:
    """Return who `request` comes from: a device, or a user of the office's pages.

    Raises:
        PermissionDenied: the user is a member of no tenant, or of several.
    """
    if isinstance(request.auth, DeviceSession):
        session = request.auth
        membership, device_id = session.membership, session.device.id
        paths: Iterable[str] = _read_paths(membership.tenant_id)
    else:
        membership, paths = _only_membership(request)
        device_id = None
    scopes = held_scopes(membership, paths)
    return Actor(
        tenant_id=membership.tenant_id,
        user_id=membership.user_id,
        device_id=device_id,
        role=membership.role,
        scopes=scopes,
        has_quarantine=membership.tenant.has_quarantine,
        may_review=membership.role in REVIEWERS,
        # Everybody holds `tenant` and nobody else `user:<id>`: territories say who is to know.
        home_scopes=scopes - {TENANT_SCOPE, user_scope(membership.user_id)},
    )


def held_scopes(membership: Membership, paths: Iterable[str]) -> frozenset[str]:
    """Return the scopes that a member holds; `paths` are those of the tenant's territories.

    A technician's follow from the membership alone.
    """
    held = {str(territory_id) for territory_id in membership.territories}
    match Role(membership.role):
        case Role.TECHNICIAN:
            pass
        case Role.SUPERVISOR:
            lines = [path.strip("/").split("/") for path in paths]
            held |= {line[-1] for line in lines if not held.isdisjoint(line)}
        case Role.DISPATCHER | Role.ADMIN | Role.AUDITOR:
            held = {path.strip("/").rpartition("/")[2] for path in paths}
    territories = {territory_scope(territory_id) for territory_id in held}
    return frozenset({TENANT_SCOPE, user_scope(membership.user_id), *territories})


def _read_paths(tenant_id: UUID) -> Iterator[str]:
    """Yield the paths of the tenant's territories; nothing is asked unless somebody iterates."""
    yield from Territory.objects.filter(tenant_id=tenant_id).values_list("path", flat=True)


def _only_membership(request: Request) -> tuple[Membership, list[str]]:
    """Return the user's one membership and its tenant's territories, in one query."""
    paths = Territory.objects.filter(tenant_id=OuterRef("tenant_id")).values("path")
    found = (
        Membership.objects.filter(
            user_id=request.user.pk,  # type: ignore[misc]  # nobody's is None, and finds nothing
            is_active=True,
            tenant__is_active=True,
        )
        .select_related("tenant")
        .annotate(paths=ArraySubquery(paths))[:2]
    )
    if len(found) != 1:
        raise PermissionDenied("Log in on a device: you are not a member of exactly one tenant.")
    return found[0], found[0].paths
