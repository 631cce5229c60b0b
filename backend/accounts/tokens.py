"""Tokens: signed claims that name a user, a tenant and a device.

    make_access(session) -> token, for minutes      with user_id, tenant, device, login
    read_access(token)   -> the four ids            what they stand for is read anew

A token says only who somebody was; roles, scopes and whether they may still enter come from the
database at each request.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
from typing import TYPE_CHECKING
from uuid import UUID

from rest_framework_simplejwt.exceptions import ExpiredTokenError, TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import AccessToken

from backend.accounts.errors import TokenExpired, TokenInvalid

if TYPE_CHECKING:
    from backend.accounts.selectors import DeviceSession

TENANT_CLAIM = "tenant"
DEVICE_CLAIM = "device"
LOGIN_CLAIM = "login"
# Access tokens whose signature was found good. One is used for minutes, by every request of a
# device; checking it takes a tenth of the time of a pull with nothing new.
CHECKED_MAX = 4_096  # the most recently used; half a kilobyte each


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """Whom a token names."""

    user_id: UUID
    tenant_id: UUID
    device_id: UUID
    login_id: UUID


def make_access(session: DeviceSession) -> str:
    """Return a new token for the requests of `session`."""
    token = AccessToken.for_user(session.user)
    token[TENANT_CLAIM] = str(session.tenant_id)
    token[DEVICE_CLAIM] = str(session.device.pk)
    token[LOGIN_CLAIM] = str(session.device.login_id)
    return str(token)


def read_access(raw: bytes, *, now: dt.datetime) -> Claims:
    """Return whom an access token names that is good at `now`.

    Raises:
        TokenExpired: its time is over.
        TokenInvalid: anything else is wrong with it.
    """
    claims, expires_at = _check_access(raw, api_settings.SIGNING_KEY)
    if expires_at <= now:  # one that was good when it was first seen
        raise TokenExpired
    return claims


def is_good(raw: bytes, *, now: dt.datetime) -> bool:
    """Whether an access token is good at `now`."""
    try:
        read_access(raw, now=now)
    except (TokenExpired, TokenInvalid):
        return False
    return True


@functools.lru_cache(CHECKED_MAX)
def _check_access(raw: bytes, signing_key: str) -> tuple[Claims, dt.datetime]:  # noqa: ARG001  # part of what is remembered
    """Return what a good token says, and until when; errors are not remembered."""
    token = _parse(raw)
    return _read_claims(token), dt.datetime.fromtimestamp(token["exp"], dt.UTC)


def _parse(raw: bytes) -> AccessToken:
    try:
        return AccessToken(raw)  # type: ignore[arg-type]  # it takes bytes too, as the header has them
    except ExpiredTokenError as error:
        raise TokenExpired from error
    except TokenError as error:
        raise TokenInvalid from error


def _read_claims(token: AccessToken) -> Claims:
    try:
        return Claims(
            user_id=UUID(token[api_settings.USER_ID_CLAIM]),
            tenant_id=UUID(token[TENANT_CLAIM]),
            device_id=UUID(token[DEVICE_CLAIM]),
            login_id=UUID(token[LOGIN_CLAIM]),
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise TokenInvalid from error
