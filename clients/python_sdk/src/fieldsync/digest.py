"""Digest: sums that stand for rows, so that a replica proves that it equals the server. Pure.

    id -> its bucket, one of 256      id, version, data -> 64 bits      rows -> XOR of them

Data are the very bytes that the server sent. Source: docs/protocol.md, "Digest and repair".
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

BUCKETS = 256
DIGEST_BYTES = 8  # of the hash


@dataclass(frozen=True, slots=True)
class Sum:
    """So many rows, and the XOR of their digests."""

    count: int = 0
    checksum: int = 0


EMPTY = Sum()


class Sums:
    """The sums of one collection, bucket by bucket."""

    def __init__(self) -> None:
        self._counts = [0] * BUCKETS
        self._checksums = [0] * BUCKETS

    def add(self, rows: Iterable[tuple[str, int, bytes]]) -> None:
        """Count `rows` in: id, version, data."""
        for row_id, version, data in rows:
            name = row_id.encode()
            bucket = sha256(name).digest()[0]
            digest = sha256(b"%b\n%d\n%b" % (name, version, data)).digest()
            self._counts[bucket] += 1
            self._checksums[bucket] ^= int.from_bytes(digest[:DIGEST_BYTES])

    def by_bucket(self) -> dict[int, Sum]:
        """The sums of the buckets that have any row."""
        pairs = zip(self._counts, self._checksums, strict=True)
        return {at: Sum(count, checksum) for at, (count, checksum) in enumerate(pairs) if count}


def bucket_of(row_id: str) -> int:
    """Which bucket the row is in."""
    return sha256(row_id.encode()).digest()[0]
