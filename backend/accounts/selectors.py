"""Reads of accounts: who is behind a token, and where a user may log in."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, cast

from django.db.models import FilteredRelation, Q

from backend.accounts.errors import (
    DeviceRevoked,
    MembershipInactive,
    TenantInactive,
    UserInactive,
)
from backend.accounts.models import Device, Membership, User

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
        UserInactive: the user was deleted or deactivated.
        MembershipInactive: it is no member of the tenant any more, or the tenant was deleted.
        TenantInactive: the tenant was deactivated.
        DeviceRevoked: the device was revoked or deleted.
    """
    found = (
        User.objects.annotate(
            seat=FilteredRelation("memberships", condition=Q(memberships__tenant_id=tenant_id)),
            phone=FilteredRelation(
                "devices", condition=Q(devices__id=device_id, devices__tenant_id=tenant_id)
            ),
        )
        .select_related("seat__tenant", "phone")
        .filter(pk=user_id)
        .first()
    )
    if found is None or not found.is_active:
        raise UserInactive
    membership = cast("Membership | None", getattr(found, "seat", None))
    device = cast("Device | None", getattr(found, "phone", None))
    if membership is None or not membership.is_active:
        raise MembershipInactive
    if not membership.tenant.is_active:
        raise TenantInactive
    if device is None or device.revoked_at is not None:
        raise DeviceRevoked
    return DeviceSession(user=found, tenant_id=tenant_id, membership=membership, device=device)


def open_memberships(user: User) -> list[Membership]:
    """Return the memberships through which `user` may log in, by tenant slug."""
    return list(
        Membership.objects.filter(user=user, is_active=True, tenant__is_active=True)
        .select_related("tenant", "user")
        .order_by("tenant__slug")
    )
