"""The devices of a user, or of a tenant for its admins: looking at them, naming, locking out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend.accounts import paging
from backend.accounts.errors import DeviceMissing
from backend.accounts.models import Device, Role

if TYPE_CHECKING:
    import datetime as dt
    from uuid import UUID

    from django.db.models import QuerySet

    from backend.accounts.selectors import DeviceSession


def visible_devices(session: DeviceSession) -> QuerySet[Device]:
    """Return the devices that the session's user may see: their own; an admin, the tenant's."""
    devices = Device.objects.filter(tenant_id=session.tenant_id)
    if session.membership.role == Role.ADMIN:
        return devices
    return devices.filter(user_id=session.user.pk)


def read_page(
    session: DeviceSession, *, user_id: UUID | None, after: UUID | None
) -> tuple[list[Device], UUID | None]:
    """Return devices by id, and the id that the next page begins behind; None at the end."""
    devices = visible_devices(session).select_related("user")
    if user_id is not None:
        devices = devices.filter(user_id=user_id)
    return paging.read_page(devices, after)


def find(session: DeviceSession, device_id: UUID) -> Device:
    """Return the device.

    Raises:
        DeviceMissing: there is none, or none that the user may see.
    """
    device = visible_devices(session).select_related("user").filter(pk=device_id).first()
    if device is None:
        raise DeviceMissing
    return device


def rename(session: DeviceSession, device_id: UUID, name: str) -> Device:
    """Give the device a name that people know it by.

    Raises:
        DeviceMissing: as `find`.
    """
    device = find(session, device_id)
    device.name = name
    device.save(update_fields=["name"])
    return device


def revoke(
    session: DeviceSession, device_id: UUID, *, must_wipe: bool, now: dt.datetime
) -> Device:
    """Lock the device out for good, from its next request on; again is harmless.

    With `must_wipe`, its app is told to delete what it holds, as soon as it asks for anything.

    Raises:
        DeviceMissing: as `find`.
    """
    device = find(session, device_id)
    if device.revoked_at is None:
        device.revoked_at = now
    device.must_wipe = device.must_wipe or must_wipe
    device.save(
        update_fields=["revoked_at", "must_wipe", "login_id", "refresh_key", "refresh_hash"]
    )
    return device
