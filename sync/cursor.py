"""The cursor: how far a device has read, signed, bound to its tenant, epoch and scope set. Pure.

    version(1) fields(msgpack) signature(16)  ->  base64url

A device that holds other scopes than before reads on in three phases, each of which can be left
off and taken up at any line:

    EXITS    what is in the scopes that were lost, and in none still held: `scope_exit`
    ENTRIES  what the gained scopes hold, as it was told to others up to `seq`
    FEED     what happens from `seq` on, to what it sees now

`held` is what rows on the device may be from, `known` what it has all of up to `seq`, `to` what
it reads with. They change together: whoever loses a scope does no longer know it, though they may
hold rows of it until they were told. In FEED the three are one.
"""

from __future__ import annotations

import base64
import binascii
import enum
import hmac
from typing import Final
from uuid import UUID

import msgspec

from sync.errors import CursorInvalid
from sync.types import RowKey


class Phase(enum.IntEnum):
    """What the next page is about."""

    FEED = 0
    EXITS = 1
    ENTRIES = 2


_VERSION: Final = b"\x02"
_SIGNATURE_BYTES: Final = 16
CHARS_MAX: Final = 1_000  # an encoded cursor is about 100, and 900 with the longest names


class Cursor(msgspec.Struct, frozen=True, kw_only=True, array_like=True, omit_defaults=True):
    """A place in one tenant's feed, as one scope set sees it; sets go by their digests.

    `seq` is the last seq that was scanned. `live_until` is the head when the first sync began: the
    device never had rows that were deleted before, so their tombstones are left out up to there.
    `step` is the last seq of the gained scopes that was scanned, or the place of the lost scope
    that is being looked through; `row` is then the last one in it.
    """

    epoch: bytes
    to: bytes
    seq: int
    live_until: int
    phase: Phase = Phase.FEED
    held: bytes = b""
    known: bytes = b""
    step: int = 0
    row: RowKey | None = None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Cursor)


def render_cursor(cursor: Cursor, key: str, tenant_id: UUID) -> str:
    """Return `cursor` as the opaque text that a device keeps."""
    body = _VERSION + _encoder.encode(cursor)
    return base64.urlsafe_b64encode(body + _sign(body, key, tenant_id)).rstrip(b"=").decode()


def parse_cursor(text: str, key: str, tenant_id: UUID) -> Cursor:
    """Return the cursor that `text` is.

    Raises:
        CursorInvalid: not made with `key`, altered, of another version, or another tenant's.
    """
    raw = _decode(text)
    body, signature = raw[:-_SIGNATURE_BYTES], raw[-_SIGNATURE_BYTES:]
    if not hmac.compare_digest(signature, _sign(body, key, tenant_id)):
        raise CursorInvalid
    if not body.startswith(_VERSION):
        raise CursorInvalid
    return _decoder.decode(body[len(_VERSION) :])


def _sign(body: bytes, key: str, tenant_id: UUID) -> bytes:
    secret = b"fieldsync cursor\0" + tenant_id.bytes + key.encode()
    return hmac.digest(secret, body, "sha256")[:_SIGNATURE_BYTES]


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
