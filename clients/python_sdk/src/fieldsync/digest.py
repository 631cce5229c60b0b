"""Digest: sums that stand for rows, so that a replica proves that it equals the server. Pure.

    id -> its bucket, one of 256      id, version, data -> 64 bits      rows -> XOR of them

Data are the very bytes that the server sent. Source: docs/protocol.md, "Digest and repair".
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Annotated

import msgspec

from fieldsync.wire import Change, decode  # at run time: a field of a struct

if TYPE_CHECKING:
    from collections.abc import Iterable

BUCKETS = 256
DIGEST_BYTES = 8  # of the hash


class Sum(msgspec.Struct, frozen=True):
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


class RowsPage(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of one bucket, sent again."""

    has_more: bool
    changes: list[Change]


class BucketSum(msgspec.Struct, frozen=True, kw_only=True):
    """So many rows of a bucket, and their checksum in hexadecimal digits."""

    count: int
    checksum: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{1,16}$")]


class CollectionSums(msgspec.Struct, frozen=True, kw_only=True):
    """The sums of one collection, by the number of the bucket."""

    buckets: dict[int, BucketSum]


class Digest(msgspec.Struct, frozen=True, kw_only=True):
    """What the server holds for this device, in sums; `behind`: there is something to pull."""

    behind: bool
    collections: dict[str, CollectionSums]


_ROWS = msgspec.json.Decoder(RowsPage)
_DIGEST = msgspec.json.Decoder(Digest)


def parse_rows(body: bytes) -> RowsPage:
    """Rows that were sent again. Raises: Unreadable when it is none."""
    return decode(_ROWS, body)


def parse_digest(body: bytes) -> Digest:
    """The answer to the question for a digest. Raises: Unreadable when it is none."""
    return decode(_DIGEST, body)
