"""Row ids made by the server: UUID version 7, so that new rows sit together in every index."""

from __future__ import annotations

import os
import time
from uuid import UUID

_RANDOM_BYTES = 10
_VERSION_AND_VARIANT = (0x7 << 76) | (0x2 << 62)
_CLEAR = ~((0xF << 76) | (0x3 << 62))


def uuid7() -> UUID:
    """Return a new UUIDv7: 48 bits of milliseconds since 1970, then randomness.

    Source: RFC 9562, section 5.7 (the standard library has it from Python 3.14).
    """
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | int.from_bytes(os.urandom(_RANDOM_BYTES))
    return UUID(int=(value & _CLEAR) | _VERSION_AND_VARIANT)
