"""The cursor: how far a device has read, signed, bound to its tenant, epoch and scope set. Pure.

    version(1) tenant(16) epoch(16) scopes(8) seq(8) live_until(8) signature(16)  ->  base64url

`seq` is the last seq that was scanned. `live_until` is the head when the first sync began: the
device never had rows that were deleted before, so their tombstones are left out up to there.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import hmac
import struct
from collections.abc import Iterable
from uuid import UUID

from sync.errors import CursorInvalid

_FORMAT = struct.Struct(">B16s16s8sqq")
_VERSION = 1
_SIGNATURE_BYTES = 16
CHARS_MAX = 200  # an encoded cursor is 98; anything much longer is not one


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """A place in one tenant's feed, as one scope set sees it."""

    tenant_id: UUID
    epoch: UUID
    scopes: bytes  # digest of the scope set, 8 bytes
    seq: int
    live_until: int


def scope_digest(scopes: Iterable[str]) -> bytes:
    """Return 8 bytes that tell scope sets apart, whatever their order."""
    text = "\0".join(sorted(scopes)).encode()
    return hashlib.blake2b(text, digest_size=8).digest()


def render_cursor(cursor: Cursor, key: str) -> str:
    """Return `cursor` as the opaque text that a device keeps."""
    body = _FORMAT.pack(
        _VERSION,
        cursor.tenant_id.bytes,
        cursor.epoch.bytes,
        cursor.scopes,
        cursor.seq,
        cursor.live_until,
    )
    return base64.urlsafe_b64encode(body + _sign(body, key)).rstrip(b"=").decode()


def parse_cursor(text: str, key: str, tenant_id: UUID) -> Cursor:
    """Return the cursor that `text` is.

    Raises:
        CursorInvalid: not made with `key`, altered, of another version, or another tenant's.
    """
    raw = _decode(text)
    body, signature = raw[: _FORMAT.size], raw[_FORMAT.size :]
    if len(body) != _FORMAT.size or not hmac.compare_digest(signature, _sign(body, key)):
        raise CursorInvalid
    version, tenant, epoch, scopes, seq, live_until = _FORMAT.unpack(body)
    if version != _VERSION or tenant != tenant_id.bytes:
        raise CursorInvalid
    return Cursor(
        tenant_id=tenant_id,
        epoch=UUID(bytes=epoch),
        scopes=scopes,
        seq=seq,
        live_until=live_until,
    )


def _sign(body: bytes, key: str) -> bytes:
    mac = hmac.new(b"fieldsync cursor\0" + key.encode(), body, hashlib.sha256)
    return mac.digest()[:_SIGNATURE_BYTES]


def _decode(text: str) -> bytes:
    if len(text) > CHARS_MAX or not text.isascii():
        raise CursorInvalid
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise CursorInvalid from None
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != text:
        raise CursorInvalid  # base64 ignores stray bits and characters; a cursor has one spelling
    return raw
