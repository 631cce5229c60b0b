"""Tokens: signed claims that name a user, a tenant and a device.

    make_pair(session) -> access (minutes), refresh (days)      both with user_id, tenant, device
    read_claims(token) -> the three ids                         what they stand for is read anew

A token says only who somebody was; roles, scopes and whether they may still enter come from the
database at each request.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from rest_framework_simplejwt.exceptions import ExpiredTokenError, TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken, Token

from backend.accounts.errors import TokenExpired, TokenInvalid

if TYPE_CHECKING:
    from backend.accounts.selectors import DeviceSession

TENANT_CLAIM = "tenant"
DEVICE_CLAIM = "device"
# Access tokens whose signature was found good. One is used for minutes, by every request of a
# device; checking it takes a tenth of the time of a pull with nothing new.
CHECKED_MAX = 4_096  # the most recently used; half a kilobyte each

T = TypeVar("T", bound=Token)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """Whom a token names."""

    user_id: UUID
    tenant_id: UUID
    device_id: UUID


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TokenPair:
    """What a device keeps: `access` for requests, `refresh` for the next pair."""

    access: str
    refresh: str


def make_pair(session: DeviceSession) -> TokenPair:
    """Return new tokens for `session`."""
    refresh = RefreshToken.for_user(session.user)
    refresh[TENANT_CLAIM] = str(session.tenant_id)
    refresh[DEVICE_CLAIM] = str(session.device.pk)
    return TokenPair(access=str(refresh.access_token), refresh=str(refresh))


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
    token = parse_token(AccessToken, raw)
    return read_claims(token), dt.datetime.fromtimestamp(token["exp"], dt.UTC)


def parse_token(kind: type[T], raw: bytes | str) -> T:
    """Return a token whose signature, kind and age are good.

    Raises:
        TokenExpired: its time is over.
        TokenInvalid: anything else is wrong with it.
    """
    try:
        return kind(raw)  # type: ignore[arg-type]  # it takes bytes too, as the header has them
    except ExpiredTokenError as error:
        raise TokenExpired from error
    except TokenError as error:
        raise TokenInvalid from error


def read_claims(token: Token) -> Claims:
    """Return the ids in a token.

    Raises:
        TokenInvalid: one is missing or is no UUID.
    """
    try:
        return Claims(
            user_id=UUID(token[api_settings.USER_ID_CLAIM]),
            tenant_id=UUID(token[TENANT_CLAIM]),
            device_id=UUID(token[DEVICE_CLAIM]),
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise TokenInvalid from error
