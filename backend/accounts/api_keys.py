"""API keys: how a program of the tenant's own reads and writes, without a person or a device.

    fsk_<prefix>.<secret>      prefix: names the key, is shown; secret: shown once, kept as a hash

A key works for its tenant only, sees all of its territories, and is bound to the collections that
it was made for. What it may read or write is settled when it is made: another need, another key.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING, Final

from backend.accounts import paging
from backend.accounts.errors import (
    ApiKeyExpired,
    ApiKeyInvalid,
    ApiKeyMissing,
    ApiKeyRevoked,
    TenantInactive,
)
from backend.accounts.models import ApiKey
from backend.accounts.services import SEEN_EVERY
from sync.row_security import every_tenant, for_tenant

if TYPE_CHECKING:
    from collections.abc import Collection
    from uuid import UUID

    from backend.accounts.models import Tenant
    from backend.accounts.selectors import DeviceSession

MARK: Final = "fsk_"  # so that scanners of source code know one that leaked
PREFIX_BYTES: Final = 8
SECRET_BYTES: Final = 32
TEXT_CHARS_MAX: Final = 128


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KeySession:
    """The key that a request came with: `request.auth` of an integration."""

    key: ApiKey
    tenant: Tenant

    @property
    def tenant_id(self) -> UUID:
        """The key's tenant."""
        return self.tenant.pk


def make(
    session: DeviceSession,
    *,
    name: str,
    reads: Collection[str],
    writes: Collection[str],
    expires_at: dt.datetime | None,
    now: dt.datetime,
) -> tuple[ApiKey, str]:
    """Make a key of the session's tenant; return it and its text, which nobody can tell again."""
    prefix, secret = secrets.token_hex(PREFIX_BYTES), secrets.token_urlsafe(SECRET_BYTES)
    key = ApiKey.objects.create(
        tenant_id=session.tenant_id,
        name=name,
        prefix=prefix,
        hash=_hash(secret),
        reads=sorted({*reads, *writes}),
        writes=sorted(writes),
        created_by=session.user,
        created_at=now,
        expires_at=expires_at,
    )
    return key, f"{MARK}{prefix}.{secret}"


def load_session(text: str, *, now: dt.datetime) -> KeySession:
    """Return the session of a key, in one query; notes now and then that it was used.

    Raises:
        ApiKeyInvalid: there is no such key.
        ApiKeyExpired, ApiKeyRevoked, TenantInactive: it was good once.
    """
    prefix, _, secret = text[:TEXT_CHARS_MAX].removeprefix(MARK).partition(".")
    with every_tenant():  # whose it is, only the key says
        key = ApiKey.objects.select_related("tenant").filter(prefix=prefix).first()
    if key is None or not hmac.compare_digest(bytes(key.hash), _hash(secret)):
        raise ApiKeyInvalid
    if key.revoked_at is not None:
        raise ApiKeyRevoked
    if key.expires_at is not None and key.expires_at <= now:
        raise ApiKeyExpired
    if not key.tenant.is_active:
        raise TenantInactive
    _note_use(key, now)
    return KeySession(key=key, tenant=key.tenant)


def read_page(session: DeviceSession, *, after: UUID | None) -> tuple[list[ApiKey], UUID | None]:
    """Return the tenant's keys by id, and what the next page begins behind; None at the end."""
    return paging.read_page(ApiKey.objects.filter(tenant_id=session.tenant_id), after)


def find(session: DeviceSession, key_id: UUID) -> ApiKey:
    """Return a key of the tenant.

    Raises:
        ApiKeyMissing: it has none of that id.
    """
    key = ApiKey.objects.filter(tenant_id=session.tenant_id, pk=key_id).first()
    if key is None:
        raise ApiKeyMissing
    return key


def revoke(session: DeviceSession, key_id: UUID, *, now: dt.datetime) -> ApiKey:
    """Make a key worthless, from its next request on; again is harmless.

    Raises:
        ApiKeyMissing: as `find`.
    """
    key = find(session, key_id)
    if key.revoked_at is None:
        key.revoked_at = now
        key.save(update_fields=["revoked_at"])
    return key


def _note_use(key: ApiKey, now: dt.datetime) -> None:
    before = now - SEEN_EVERY
    if key.last_used_at is not None and key.last_used_at > before:
        return
    with for_tenant(key.tenant_id):
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)


def _hash(secret: str) -> bytes:
    """Return what is kept of a secret: it has 256 random bits, and needs no slow hash."""
    return hashlib.sha256(secret.encode()).digest()
