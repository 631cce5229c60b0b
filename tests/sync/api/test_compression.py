"""Which encoding a client gets, and that what is packed can be unpacked as it arrives."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
import zstandard

from sync.api import compression


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        ("", None),
        ("identity", None),
        ("br", None),
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("zstd;q=0, gzip", "gzip"),
        ("zstd;q=0.1, gzip;q=0.2", "gzip"),
        ("gzip;q=0", None),
        ("*", "zstd"),
        ("*;q=0", None),
        ("zstd;q=0, *", "gzip"),
        ("gzip;q=nonsense", None),
        ("gzip ; q=1", "gzip"),
    ],
)
def test_encoding_is_the_best_that_is_taken(accepted: str, chosen: str | None) -> None:
    """What a client did not offer it may not be able to read."""
    assert compression.choose_encoding(accepted) == chosen


@pytest.mark.parametrize("encoding", ["gzip", "zstd", None])
def test_every_chunk_can_be_read_when_it_arrives(encoding: str | None) -> None:
    """A phone applies the first thousand rows while the next are on their way."""
    packer = compression.make_packer(encoding)
    unpack: Any = {
        "gzip": zlib.decompressobj(16 + zlib.MAX_WBITS).decompress,
        "zstd": zstandard.ZstdDecompressor().decompressobj().decompress,
        None: bytes,
    }[encoding]

    for n in range(20):
        chunk = b"%d of many\n" % n * 1_000
        assert unpack(packer.pack(chunk)) == chunk
    assert unpack(packer.end()) == b""


@pytest.mark.parametrize("encoding", compression.OFFERED)
def test_body_packed_at_once_is_the_same(encoding: str) -> None:
    """And the same bytes each time: nothing of the hour is in them."""
    body = b"rows " * 5_000
    packed = compression.pack(body, encoding)

    unpacked = (
        zlib.decompress(packed, 16 + zlib.MAX_WBITS)
        if encoding == "gzip"
        else zstandard.ZstdDecompressor().decompress(packed)
    )
    assert unpacked == body
    assert compression.pack(body, encoding) == packed
