"""Refresh tokens: a chain of secrets for each login of a device, of which we keep no link.

    first = random      successor of a token = HMAC(the login's key, the token)

Stored are the login's key and the hash of the newest token that was used: from these nobody can
make a token, not even who reads the database. Whoever has a token can be told its successor again
and again, always the same, so that a lost answer costs nothing; once the successor is used, the
token is spent. A seal says that a token was made here, so that a spent one is told from garbage.
Pure.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import hmac
import secrets
import struct
from typing import Final
from uuid import UUID

from backend.accounts.errors import TokenInvalid

SECRET_BYTES: Final = 32
SEAL_BYTES: Final = 16
_HEAD: Final = struct.Struct(">16s16s16s16sQ")  # user, tenant, device, login, number
_LENGTH: Final = _HEAD.size + SECRET_BYTES + SEAL_BYTES


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RefreshToken:
    """One token: whose it is, and the place in its login's chain."""

    user_id: UUID
    tenant_id: UUID
    device_id: UUID
    login_id: UUID
    number: int
    secret: bytes

    @property
    def hash(self) -> bytes:
        """What is stored of it."""
        return hashlib.sha256(self.secret).digest()

    def successor(self, key: bytes) -> RefreshToken:
        """Return the token that follows: the same, however often it is asked for."""
        secret = hmac.digest(key, self.secret, "sha256")
        return dataclasses.replace(self, number=self.number + 1, secret=secret)

    def render(self, seal_key: str) -> str:
        """Return the token as the app keeps it."""
        ids = (self.user_id, self.tenant_id, self.device_id, self.login_id)
        text = _HEAD.pack(*(each.bytes for each in ids), self.number) + self.secret
        return base64.urlsafe_b64encode(text + _seal(text, seal_key)).decode().rstrip("=")


def make_secret() -> bytes:
    """Return a secret that nobody can guess."""
    return secrets.token_bytes(SECRET_BYTES)


def parse(text: str, seal_key: str) -> RefreshToken:
    """Return the token that `text` is.

    Raises:
        TokenInvalid: it was not made here.
    """
    try:
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise TokenInvalid from error
    body, seal = packed[:-SEAL_BYTES], packed[-SEAL_BYTES:]
    if len(packed) != _LENGTH or not hmac.compare_digest(seal, _seal(body, seal_key)):
        raise TokenInvalid
    *ids, number = _HEAD.unpack(body[: _HEAD.size])
    user_id, tenant_id, device_id, login_id = (UUID(bytes=each) for each in ids)
    return RefreshToken(
        user_id=user_id,
        tenant_id=tenant_id,
        device_id=device_id,
        login_id=login_id,
        number=number,
        secret=body[_HEAD.size :],
    )


def _seal(text: bytes, key: str) -> bytes:
    return hmac.digest(key.encode(), b"refresh token\0" + text, "sha256")[:SEAL_BYTES]
