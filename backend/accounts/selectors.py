"""Reads of accounts: who is behind a token, and where a user may log in."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, cast

from django.db.models import FilteredRelation, Q

from backend.accounts.errors import (
    DeviceRevoked,
    MembershipInactive,
    NotLoggedIn,
    TenantInactive,
    UserInactive,
)
from backend.accounts.models import Device, Membership, Tenant, User

if TYPE_CHECKING:
    from uuid import UUID


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSession:
    """Who a request comes from, as the database has it now: `request.auth` of a device."""

    user: User
    tenant_id: UUID
    membership: Membership
    device: Device


def load_session(*, user_id: UUID, tenant_id: UUID, device_id: UUID) -> DeviceSession:
    """Return the user, membership and device that a token names, in one query.

    Raises:
        UserInactive: the user was deactivated or deleted.
        TenantInactive: the tenant was.
        MembershipInactive: the membership was.
        DeviceRevoked: the device was revoked or deleted.
    """
    found = (
        Membership.objects.annotate(
            phone=FilteredRelation(
                "user__devices",
                condition=Q(user__devices__id=device_id, user__devices__tenant_id=tenant_id),
            )
        )
        .select_related("user", "tenant", "phone")  # type: ignore[misc]  # an annotation
        .filter(tenant_id=tenant_id, user_id=user_id)
        .first()
    )
    if found is None:
        raise _decide_missing(user_id, tenant_id)
    if not found.user.is_active:
        raise UserInactive
    if not found.tenant.is_active:
        raise TenantInactive
    if not found.is_active:
        raise MembershipInactive
    device = cast("Device | None", getattr(found, "phone", None))  # absent when none was joined
    if device is None or device.revoked_at is not None:
        raise DeviceRevoked
    return DeviceSession(user=found.user, tenant_id=tenant_id, membership=found, device=device)


def _decide_missing(user_id: UUID, tenant_id: UUID) -> NotLoggedIn:
    """Return what was deleted; worth its queries, since it ends a login for good."""
    if not User.objects.filter(pk=user_id).exists():
        return UserInactive()
    if not Tenant.objects.filter(pk=tenant_id).exists():
        return TenantInactive()
    return MembershipInactive()


def open_memberships(user: User) -> list[Membership]:
    """Return the memberships through which `user` may log in, by tenant slug."""
    return list(
        Membership.objects.filter(user=user, is_active=True, tenant__is_active=True)
        .select_related("tenant", "user")
        .order_by("tenant__slug")
    )
