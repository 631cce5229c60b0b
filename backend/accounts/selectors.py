"""Reads of accounts: who is behind a token, and where a user may log in."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
from typing import TYPE_CHECKING, Any

from django.db import connection

from backend.accounts.errors import (
    DeviceRevoked,
    LoginEnded,
    MembershipInactive,
    NotLoggedIn,
    TenantInactive,
    UserInactive,
)
from backend.accounts.models import Device, Membership, Tenant, User
from backend.grounds import Row
from sync.models import Stream
from sync.row_security import every_tenant, for_tenant
from sync.types import StreamState

if TYPE_CHECKING:
    from uuid import UUID

    from django.db.models import Model

# Fields that no request of a device has a use for; read when somebody asks after all.
_LEFT_OUT = (
    *("password", "last_login", "first_name", "last_name", "email", "date_joined"),
    *("refresh_key", "refresh_number", "refresh_hash", "refreshed_at"),
    "read_seq",
)
_HEARD = ("last_seen_at", "clock_skew_ms", "outbox_rows")
_OF_SESSION: tuple[type[Model], ...] = (Membership, User, Tenant, Device)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSession:
    """Who a request comes from, as the database has it now: `request.auth` of a device."""

    user: User
    tenant_id: UUID
    membership: Membership
    device: Device
    stream: StreamState | None = None  # of the tenant's feed; none yet if it is new
    found: Row = ()  # all of this as the database gave it


def load_session(
    *, user_id: UUID, tenant_id: UUID, device_id: UUID, login_id: UUID | None = None
) -> DeviceSession:
    """Return the user, membership and device that a token names, in one query.

    With `login_id`, only if that is the device's login still.

    Raises:
        UserInactive: the user was deactivated or deleted.
        TenantInactive: the tenant was.
        MembershipInactive: the membership was.
        DeviceRevoked: the device was revoked or deleted.
        LoginEnded: the device logged out, or in again.
    """
    with for_tenant(tenant_id):
        with connection.cursor() as cursor:
            cursor.execute(session_sql(), [device_id, tenant_id, user_id])
            found = cursor.fetchone()
        if found is None:
            raise _decide_missing(user_id, tenant_id, device_id)
    membership, user, tenant, device = (
        model.from_db(None, names, found[place]) for model, names, place in _places()
    )
    if device.pk is not None and device.revoked_at is not None and device.must_wipe:
        raise DeviceRevoked(must_wipe=True)  # before all else: of a leaver all of it is true
    if not user.is_active:
        raise UserInactive
    if not tenant.is_active:
        raise TenantInactive
    if not membership.is_active:
        raise MembershipInactive
    if device.pk is None or device.revoked_at is not None:
        raise DeviceRevoked
    if login_id not in {None, device.login_id}:
        raise LoginEnded
    membership.user, membership.tenant = user, tenant
    return DeviceSession(
        user=user,
        tenant_id=tenant_id,
        membership=membership,
        device=device,
        stream=_take_stream(*found[-3:]),
        found=found,
    )


@functools.cache
def session_sql() -> str:
    """Return the query behind every request of a device; it takes device, tenant and user.

    It brings the feed's head along, which is all that most pulls need besides.

    A constant, since the ORM takes as long to put such a join together as a small push does.
    """
    columns = [f"{model._meta.db_table}.{name}" for model, names, _ in _places() for name in names]
    membership, user, tenant, device = (model._meta.db_table for model in _OF_SESSION)
    stream = Stream._meta.db_table
    columns += [f"{stream}.epoch", f"{stream}.head", f"{stream}.floor"]
    return (
        f"SELECT {', '.join(columns)} FROM {membership} "  # noqa: S608  # names come from models
        f"JOIN {user} ON {user}.id = {membership}.user_id "
        f"JOIN {tenant} ON {tenant}.id = {membership}.tenant_id "
        f"LEFT JOIN {device} ON {device}.id = %s AND {device}.user_id = {membership}.user_id "
        f"AND {device}.tenant_id = {membership}.tenant_id "
        f"LEFT JOIN {stream} ON {stream}.tenant_id = {membership}.tenant_id "
        f"WHERE {membership}.tenant_id = %s AND {membership}.user_id = %s"
    )


def is_same(found: Row, later: Row) -> bool:
    """Whether two rows say the same; what was heard of the device may differ."""
    heard = _heard_places()
    pairs = enumerate(zip(found, later, strict=True))
    return all(one == other or place in heard for place, (one, other) in pairs)


def seen_at(row: Row) -> dt.datetime | None:
    """Return when the device of a row was heard from last; None if there is no device."""
    at: dt.datetime | None = row[_heard_places()[0]]
    return at


@functools.cache
def _heard_places() -> tuple[int, ...]:
    """Return where what a request itself may write stands; first when the device was heard."""
    _, names, place = _places()[_OF_SESSION.index(Device)]
    return tuple(place.start + names.index(name) for name in _HEARD)


def _take_stream(epoch: UUID | None, head: int, floor: int) -> StreamState | None:
    return None if epoch is None else StreamState(epoch=epoch, head=head, floor=floor)


@functools.cache
def _places() -> list[tuple[Any, list[str], slice]]:
    """Return each model of a session, its columns that are read, and where their values stand."""
    places: list[tuple[Any, list[str], slice]] = []
    start = 0
    for model in _OF_SESSION:
        fields = model._meta.concrete_fields
        names = [field.attname for field in fields if field.name not in _LEFT_OUT]
        places.append((model, names, slice(start, start + len(names))))
        start += len(names)
    return places


def _decide_missing(user_id: UUID, tenant_id: UUID, device_id: UUID) -> NotLoggedIn:
    """Return what was deleted; worth its queries, since it ends a login for good."""
    wiped = Device.objects.filter(pk=device_id, must_wipe=True, revoked_at__isnull=False)
    if wiped.filter(user_id=user_id, tenant_id=tenant_id).exists():
        return DeviceRevoked(must_wipe=True)
    if not User.objects.filter(pk=user_id).exists():
        return UserInactive()
    if not Tenant.objects.filter(pk=tenant_id).exists():
        return TenantInactive()
    return MembershipInactive()


def open_memberships(user: User) -> list[Membership]:
    """Return the memberships through which `user` may log in, by tenant slug."""
    with every_tenant():
        return list(
            Membership.objects.filter(user=user, is_active=True, tenant__is_active=True)
            .select_related("tenant", "user")
            .order_by("tenant__slug")
        )
