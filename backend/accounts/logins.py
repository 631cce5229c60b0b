"""A device's login, from its beginning to its end.

    begin    a new chain of refresh tokens; the login before is over, its access tokens too
    refresh  token -> its successor, as often as it is asked for, until that is used
                   -> used again after that: somebody has a copy, and the login is over
    end      logging out

One row, the device's, holds it all. A token's first use is one UPDATE, of which many at once make
one: all are told the same successor.
"""

from __future__ import annotations

import dataclasses
import hmac
import logging
import uuid
from typing import TYPE_CHECKING, Final

from django.conf import settings
from django.db.models import Q
from django.dispatch import Signal
from rest_framework_simplejwt.settings import api_settings

from backend.accounts import refresh_tokens
from backend.accounts.errors import LoginEnded, TokenExpired, TokenInvalid, TokenReused
from backend.accounts.models import Device
from backend.accounts.refresh_tokens import RefreshToken
from backend.accounts.selectors import DeviceSession, load_session
from sync.pokes import announce_access
from sync.row_security import for_tenant

if TYPE_CHECKING:
    import datetime as dt
    from uuid import UUID

    from backend.accounts.tokens import Claims

log = logging.getLogger(__name__)

# Sent when a login was ended because a token came twice; `device_id`, `user_id`, `tenant_id`.
token_reused = Signal()
TRIES_MAX: Final = 3  # to use a token that others use at that moment


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Chain:
    """A device's chain, as it is stored."""

    key: bytes
    number: int
    hash: bytes
    refreshed_at: dt.datetime


def begin(session: DeviceSession, *, now: dt.datetime) -> str:
    """Begin a login of the session's device; return its first refresh token."""
    device = session.device
    token = RefreshToken(
        user_id=session.user.pk,
        tenant_id=session.tenant_id,
        device_id=device.pk,
        login_id=uuid.uuid4(),
        number=0,
        secret=refresh_tokens.make_secret(),
    )
    with for_tenant(session.tenant_id):
        Device.objects.filter(pk=device.pk).update(
            login_id=token.login_id,
            refresh_key=refresh_tokens.make_secret(),
            refresh_number=token.number,
            refresh_hash=token.hash,
            refreshed_at=now,
        )
    device.login_id = token.login_id
    announce_access(session.tenant_id, [session.user.pk])  # streams of the login before
    return token.render(settings.SECRET_KEY)


def refresh(raw: str, *, now: dt.datetime) -> tuple[DeviceSession, str]:
    """Return the session that a refresh token stands for, and the token that follows.

    Raises:
        TokenInvalid: it was not made here.
        TokenExpired: the login was not used for too long.
        LoginEnded: the device has logged out, or in again.
        TokenReused: it is spent; now the login is over.
        NotLoggedIn: the leaf says what else ended it.
    """
    token = refresh_tokens.parse(raw, settings.SECRET_KEY)
    with for_tenant(token.tenant_id):
        return _refresh(token, now)


def _refresh(token: RefreshToken, now: dt.datetime) -> tuple[DeviceSession, str]:
    session = load_session(
        user_id=token.user_id,
        tenant_id=token.tenant_id,
        device_id=token.device_id,
        login_id=token.login_id,
    )
    for _ in range(TRIES_MAX):
        chain = _read(token)
        if chain.refreshed_at + api_settings.REFRESH_TOKEN_LIFETIME <= now:
            raise TokenExpired
        if token.number < chain.number:
            _end_for_reuse(token)
            raise TokenReused
        if token.number == chain.number:
            if not hmac.compare_digest(token.hash, chain.hash):
                raise TokenInvalid
            return session, token.successor(chain.key).render(settings.SECRET_KEY)
        if _use(token, now):
            return session, token.successor(chain.key).render(settings.SECRET_KEY)
    raise LoginEnded  # it changed at each look


def end(claims: Claims) -> None:
    """Log out whom an access token names: none of the device's tokens is good any more.

    Again is harmless: the answer to the first time may have been lost.
    """
    with for_tenant(claims.tenant_id):
        is_ended = _end(claims.device_id, claims.login_id)
    if is_ended:
        announce_access(claims.tenant_id, [claims.user_id])


def _read(token: RefreshToken) -> _Chain:
    """Return the chain that the token is of.

    Raises:
        LoginEnded: there is none any more.
    """
    found = (
        Device.objects.filter(pk=token.device_id, login_id=token.login_id)
        .values_list("refresh_key", "refresh_number", "refresh_hash", "refreshed_at")
        .first()
    )
    if found is None:
        raise LoginEnded
    key, number, newest, refreshed_at = found
    if key is None or newest is None or refreshed_at is None:  # of a login without any
        raise LoginEnded
    return _Chain(key=bytes(key), number=number, hash=bytes(newest), refreshed_at=refreshed_at)


def _use(token: RefreshToken, now: dt.datetime) -> bool:
    """Make the token the newest that was used; False when another was faster.

    It may be further than the next: a restored database knows less than its devices do.
    """
    older = Q(pk=token.device_id, login_id=token.login_id, refresh_number__lt=token.number)
    changed = Device.objects.filter(older).update(
        refresh_number=token.number, refresh_hash=token.hash, refreshed_at=now
    )
    return changed == 1


def _end_for_reuse(token: RefreshToken) -> None:
    if _end(token.device_id, token.login_id):
        log.warning(
            "refresh token used twice: login of device %s (user %s, tenant %s) ended",
            *(token.device_id, token.user_id, token.tenant_id),
        )
        announce_access(token.tenant_id, [token.user_id])
        token_reused.send(
            sender=Device,
            device_id=token.device_id,
            user_id=token.user_id,
            tenant_id=token.tenant_id,
        )


def _end(device_id: UUID, login_id: UUID | None) -> bool:
    """End a login, unless the device has begun another one since."""
    ended = Device.objects.filter(pk=device_id, login_id=login_id, login_id__isnull=False)
    return bool(ended.update(login_id=None, refresh_key=None, refresh_hash=None))
