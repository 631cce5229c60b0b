"""Writes of accounts: logging in, refreshing, and hearing from a device.

    log_in   password -> membership -> device registered or updated -> session

It may be repeated: a device is registered once. What comes of a login then is in `logins`.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING

from django.contrib.auth import authenticate
from django.db import transaction

from backend.accounts.errors import CredentialsInvalid, DeviceRevoked, TenantRequired
from backend.accounts.models import APP_VERSION_CHARS_MAX, Device, Membership, User
from backend.accounts.selectors import DeviceSession, open_memberships
from sync.row_security import for_tenant

if TYPE_CHECKING:
    from django.http import HttpRequest

COUNT_DIGITS_MAX = 9
SEEN_EVERY = dt.timedelta(minutes=5)  # says well enough who is out there; rarely a write


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Install:
    """The app on a device, as it describes itself."""

    install_id: str
    platform: str
    app_version: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a device says of itself with a request, in its own words; empty where it does not."""

    client_time: str = ""
    outbox_rows: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What somebody logs in with; `tenant_slug` is empty when they name none."""

    username: str
    password: str
    tenant_slug: str = ""


def log_in(
    credentials: Credentials,
    install: Install,
    *,
    now: dt.datetime,
    request: HttpRequest | None = None,
) -> DeviceSession:
    """Return the session of a user on a device, which is registered or brought up to date.

    Raises:
        CredentialsInvalid: whatever is wrong with name, password or tenant.
        TenantRequired: the user has several tenants and named none.
        DeviceRevoked: this install was locked out; logging in does not undo that.
    """
    # Hashes one password whether or not the user exists, so that time tells nothing either.
    user = authenticate(request, username=credentials.username, password=credentials.password)
    if not isinstance(user, User):
        raise CredentialsInvalid
    membership = _choose_membership(user, credentials.tenant_slug)
    device = _register_device(membership, install, now)
    return DeviceSession(
        user=user, tenant_id=membership.tenant_id, membership=membership, device=device
    )


def is_seen_due(last_seen_at: dt.datetime, now: dt.datetime) -> bool:
    """Whether it is time to record again that a device was heard from."""
    return now - last_seen_at >= SEEN_EVERY


def note_app(device: Device, version: str) -> None:
    """Record that the device's app is another by now: `version`, if it says one."""
    if version in {"", device.app_version} or len(version) > APP_VERSION_CHARS_MAX:
        return
    device.app_version = version
    device.save(update_fields=["app_version"])


def note_seen(device: Device, heard: Heard, *, now: dt.datetime) -> None:
    """Record that `device` was heard from, and what it said: one UPDATE in `SEEN_EVERY`.

    One more when its outbox, which had something in it, is empty: nobody is to look for it.
    """
    outbox_rows = read_count(heard.outbox_rows)
    devices = Device.objects.filter(pk=device.pk)
    if not is_seen_due(device.last_seen_at, now):
        if device.outbox_rows and outbox_rows == 0:
            devices.update(outbox_rows=0)
        return
    changes: dict[str, object] = {"last_seen_at": now}
    skew_ms = read_skew_ms(heard.client_time, now)
    if skew_ms is not None:
        changes["clock_skew_ms"] = skew_ms
    if outbox_rows is not None:
        changes["outbox_rows"] = outbox_rows
    # Of requests that arrive together one writes; the others find that it is done.
    devices.filter(last_seen_at__lte=now - SEEN_EVERY).update(**changes)


def read_count(text: str) -> int | None:
    """Return the number that a device said; None for none, and for what cannot be one."""
    is_number = text.isascii() and text.isdigit() and len(text) <= COUNT_DIGITS_MAX
    return int(text) if is_number else None


def read_skew_ms(client_time: str, now: dt.datetime) -> int | None:
    """Return the client's clock less ours in ms, None for no time or no RFC 3339 time."""
    try:
        at = dt.datetime.fromisoformat(client_time)
        return round((at - now) / dt.timedelta(milliseconds=1))
    except (ValueError, TypeError, OverflowError):  # malformed; without an offset; out of range
        return None


def _choose_membership(user: User, slug: str) -> Membership:
    memberships = open_memberships(user)
    if slug:
        memberships = [each for each in memberships if each.tenant.slug == slug]
    if not memberships:
        raise CredentialsInvalid
    if len(memberships) > 1:
        raise TenantRequired([each.tenant.slug for each in memberships])
    return memberships[0]


def _register_device(membership: Membership, install: Install, now: dt.datetime) -> Device:
    changes = {
        "platform": install.platform,
        "app_version": install.app_version,
        "last_seen_at": now,
    }
    with for_tenant(membership.tenant_id), transaction.atomic():
        device, _ = Device.objects.update_or_create(
            tenant_id=membership.tenant_id,
            user_id=membership.user_id,
            install_id=install.install_id,
            defaults=changes,
            create_defaults={**changes, "created_at": now},
        )
        if device.revoked_at is not None:
            raise DeviceRevoked(must_wipe=device.must_wipe)
    return device
