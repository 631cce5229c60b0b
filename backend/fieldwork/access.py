"""Who a request or a device is, and which scopes they hold: read from the database each time.

    everybody      tenant, user:<id>
    technician     territory:<t> of their own territories
    supervisor     territory:<t> of these and of all below them
    dispatcher, admin, auditor      territory:<t> of all of the tenant's; so does an API key

Costs at most one query beyond authentication.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef
from rest_framework.exceptions import PermissionDenied

from backend.accounts.api_keys import KeySession
from backend.accounts.app_versions import is_older
from backend.accounts.errors import NotLoggedIn
from backend.accounts.models import Device, Membership, Role
from backend.accounts.selectors import DeviceSession, load_session
from backend.fieldwork.collections import TENANT_SCOPE, territory_scope, user_scope
from backend.fieldwork.models import Territory
from backend.fieldwork.roles import REVIEWERS, TENANT_WIDE
from sync.clock import render_time
from sync.row_security import every_tenant
from sync.types import Actor, KnownDevice, StreamState

if TYPE_CHECKING:
    from uuid import UUID

    from django.db.models import QuerySet
    from rest_framework.request import Request


def resolve_actor(request: Request) -> Actor:
    """Return who `request` comes from: a device, an integration, or a user of the office's pages.

    Raises:
        PermissionDenied: the user is a member of no tenant, or of several.
    """
    if isinstance(request.auth, KeySession):
        return _integration(request.auth)
    upgrade_to = ""
    if isinstance(request.auth, DeviceSession):
        session = request.auth
        membership, device_id = session.membership, session.device.id
        minimum = membership.tenant.min_app_version
        upgrade_to = minimum if is_older(session.device.app_version, minimum) else ""
        paths: Iterable[str] = _read_paths(membership.tenant_id)
        stream = session.stream
    else:
        membership, paths = _only_membership(request)
        device_id, stream = None, None
    return _actor(membership, device_id, paths, stream, upgrade_to)


def _integration(session: KeySession) -> Actor:
    """Return who works with an API key: it stands for a device, and for no user."""
    key = session.key
    role = Role.DISPATCHER if key.writes else Role.AUDITOR
    paths = _read_paths(session.tenant_id)
    home = frozenset(territory_scope(path.strip("/").rpartition("/")[2]) for path in paths)
    return Actor(
        tenant_id=session.tenant_id,
        device_id=key.pk,
        role=role,
        scopes=home | {TENANT_SCOPE},
        has_quarantine=session.tenant.has_quarantine,
        sees_most=True,
        home_scopes=home,
        reads=frozenset(key.reads),
        writes=frozenset(key.writes),
    )


def resolve_device(device_id: UUID) -> KnownDevice | None:
    """Return a device as `sync_explain` wants it; None if there is none of that id.

    What it pulls with is said even if it may not: that of its membership, if there is one.
    """
    device = Device.objects.select_related("user", "tenant").filter(pk=device_id).first()
    if device is None:
        return None
    tenant_id, user_id = device.tenant_id, device.user_id
    memberships = Membership.objects.select_related("tenant")
    membership = memberships.filter(tenant_id=tenant_id, user_id=user_id).first()
    territories = Territory.objects.filter(tenant_id=tenant_id)
    if membership is None:
        actor = Actor(tenant_id=tenant_id, user_id=user_id, device_id=device.pk)
    else:
        actor = _actor(membership, device.pk, territories.values_list("path", flat=True))
    return KnownDevice(
        actor=actor,
        facts={
            "user": device.user.get_username(),
            "role": actor.role or "none",
            "tenant": device.tenant.slug,
            "app": f"{device.platform} {device.app_version}",
            "last seen": render_time(device.last_seen_at),
            "read up to": "nothing yet" if device.read_seq is None else f"{device.read_seq:,}",
            "unsent rows": f"{device.outbox_rows:,}",
        },
        refused=_refusal(device),
        advise=partial(_advise, device.user.get_username(), territories),
    )


def _refusal(device: Device) -> str:
    """Return the code of the error that the device's requests end in, empty if in none."""
    try:
        load_session(user_id=device.user_id, tenant_id=device.tenant_id, device_id=device.pk)
    except NotLoggedIn as error:
        return error.default_code
    return ""


def _advise(username: str, territories: QuerySet[Territory], scope: str) -> str:
    """Return how `username` comes to hold a scope that they do not hold."""
    kind, _, held_by = scope.partition(":")
    match kind:
        case "territory":
            name = territories.filter(pk=held_by).values_list("name", flat=True).first()
            return (
                f"Give {username}'s membership the territory {name} ({held_by})." if name else ""
            )
        case "user":
            return f"Assign it, or the work order that it belongs to, to {username}."
        case _:
            return f"Make {username} a member of the tenant."


def _actor(
    membership: Membership,
    device_id: UUID | None,
    paths: Iterable[str],
    stream: StreamState | None = None,
    upgrade_to: str = "",
) -> Actor:
    scopes = held_scopes(membership, paths)
    return Actor(
        tenant_id=membership.tenant_id,
        user_id=membership.user_id,
        device_id=device_id,
        role=membership.role,
        scopes=scopes,
        has_quarantine=membership.tenant.has_quarantine,
        may_review=membership.role in REVIEWERS,
        sees_most=membership.role in TENANT_WIDE,
        # Everybody holds `tenant` and nobody else `user:<id>`: territories say who is to know.
        home_scopes=scopes - {TENANT_SCOPE, user_scope(membership.user_id)},
        stream=stream,
        upgrade_to=upgrade_to,
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
    members = (
        Membership.objects.filter(
            user_id=request.user.pk,  # type: ignore[misc]  # nobody's is None, and finds nothing
            is_active=True,
            tenant__is_active=True,
        )
        .select_related("tenant")
        .annotate(paths=ArraySubquery(paths))[:2]
    )
    with every_tenant():
        found = list(members)
    if len(found) != 1:
        raise PermissionDenied("Log in on a device: you are not a member of exactly one tenant.")
    return found[0], found[0].paths
