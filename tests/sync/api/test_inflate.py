"""Unpacking bodies: whatever the bytes promise, no more than the limit is ever in memory."""

from __future__ import annotations

import gzip
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import example, given, strategies as st

from sync.api.inflate import ENCODINGS, ZSTD_WINDOW_BYTES_MAX, inflate
from sync.errors import BodyMalformed, LimitExceeded

ROOT = Path(__file__).parents[3]
MIB = 1024 * 1024
BYTES_MAX = 8 * MIB
BOMB_BYTES = 1024 * MIB
GROWTH_BYTES_MAX = 64 * MIB  # 8 each of body, window and last slice; the rest is room
BODY = b'{"mutations": [' + b", ".join(b'{"id": "%d"}' % n for n in range(500)) + b"]}"


def stream_zstd(body: bytes, level: int = 3, **how: int) -> bytes:
    """Return `body` as a client packs it that does not know its length beforehand."""
    parameters = zstandard.ZstdCompressionParameters.from_level(level, **how)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return stream.compress(body) + stream.flush()


PACK: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "gzip, fast": ("gzip", lambda body: gzip.compress(body, 1)),
    "zstd": ("zstd", zstandard.ZstdCompressor().compress),
    "zstd, slow": ("zstd", zstandard.ZstdCompressor(level=22).compress),
    "zstd, checked": ("zstd", zstandard.ZstdCompressor(write_checksum=True).compress),
    "zstd, streamed": ("zstd", stream_zstd),
    "zstd, widest window": ("zstd", lambda body: stream_zstd(body, window_log=23)),
}


@pytest.mark.parametrize("how", PACK)
@pytest.mark.parametrize(
    "body", [b"", b"x", BODY, os.urandom(300_000), bytes(MIB)], ids=["empty", "x", "json", "noise", "zeros"]
)  # fmt: skip
def test_body_arrives_as_it_was_packed(how: str, body: bytes) -> None:
    """Whichever library packed it."""
    encoding, pack = PACK[how]

    assert inflate(encoding, pack(body), BYTES_MAX) == body


@pytest.mark.parametrize("how", PACK)
def test_limit_itself_is_allowed_and_one_byte_more_is_not(how: str) -> None:
    """Exact: what the client is told is what it can use."""
    encoding, pack = PACK[how]
    packed = pack(BODY)

    assert inflate(encoding, packed, len(BODY)) == BODY
    with pytest.raises(LimitExceeded) as refused:
        inflate(encoding, packed, len(BODY) - 1)
    assert refused.value.members == {"limit": "body_bytes_max", "maximum": len(BODY) - 1}


def damaged(packed: bytes) -> dict[str, bytes]:
    """Return what may become of packed bytes on their way."""
    return {
        "nothing": b"",
        "begins": packed[:3],
        "half": packed[: len(packed) // 2],
        "last byte missing": packed[:-1],
        "one byte more": packed + b"\0",
        "much more": packed + bytes(2 * MIB),
        "twice": packed + packed,
        "cut from the front": packed[1:],
        "turned over": packed[::-1],
        "no packing": BODY,
    }


@pytest.mark.parametrize("how", PACK)
@pytest.mark.parametrize("case", damaged(b"any bytes"))
def test_damaged_packing_is_malformed(how: str, case: str) -> None:
    """A part of a body is never taken for a body."""
    encoding, pack = PACK[how]
    given_bytes = damaged(pack(BODY))[case]

    with pytest.raises(BodyMalformed):
        inflate(encoding, given_bytes, BYTES_MAX)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_follows_is_noticed_wherever_the_body_ends(encoding: str) -> None:
    """Also where the end of a body is the end of what was unpacked in one go."""
    for size in range(300):
        packed = PACK[encoding][1](os.urandom(size))

        with pytest.raises(BodyMalformed, match="follows"):
            inflate(encoding, packed + b"x", BYTES_MAX)


@pytest.mark.parametrize("how", ["gzip", "zstd, checked"])
def test_flipped_bit_is_noticed(how: str) -> None:
    """Where the packing has a checksum."""
    encoding, pack = PACK[how]
    packed = bytearray(pack(BODY))
    packed[-5] ^= 1

    with pytest.raises(BodyMalformed):
        inflate(encoding, bytes(packed), BYTES_MAX)


@pytest.mark.parametrize(
    ("packed", "reason"),
    [
        (stream_zstd(BODY, window_log=24), "too much memory"),
        (b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + stream_zstd(BODY), "follows"),
        (
            zstandard.ZstdCompressor(
                dict_data=zstandard.ZstdCompressionDict(
                    zstandard.train_dictionary(
                        1_024, [os.urandom(60) + BODY[:200]] * 100
                    ).as_bytes()
                )
            ).compress(BODY),
            "Dictionary",
        ),
    ],
    ids=["wide window", "skippable frame", "dictionary"],
)
def test_zstd_that_http_does_not_allow_is_malformed(packed: bytes, reason: str) -> None:
    """A window beyond 8 MiB is memory; a dictionary is nothing that we share with the client."""
    with pytest.raises(BodyMalformed, match=reason):
        inflate("zstd", packed, BYTES_MAX)


@given(st.sampled_from(ENCODINGS), st.one_of(st.binary(max_size=200), st.integers(0, 10**6)))
@example("zstd", b"\x28\xb5\x2f\xfd")
@example("gzip", b"\x1f\x8b")
def test_no_bytes_are_anything_worse_than_refused(encoding: str, change: bytes | int) -> None:
    """Noise, and one flipped bit anywhere: never a 500 for what a client sent."""
    packed = bytearray(PACK[encoding][1](BODY))
    if isinstance(change, int):
        packed[change // 8 % len(packed)] ^= 1 << change % 8
    else:
        packed[:] = change

    try:
        inflate(encoding, bytes(packed), BYTES_MAX)
    except (BodyMalformed, LimitExceeded):
        pass


# --- bombs ---------------------------------------------------------------------------------


def gzip_bomb(size: int = BOMB_BYTES) -> bytes:
    """Return zeros, packed well: after a full flush, a MiB looks like the one before."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    zeros = bytes(MIB)
    first = deflater.compress(zeros) + deflater.flush(zlib.Z_FULL_FLUSH)
    more = deflater.compress(zeros) + deflater.flush(zlib.Z_FULL_FLUSH)
    last = deflater.flush()[:-8]  # its trailer is for two
    crc = 0
    for _ in range(size // MIB):
        crc = zlib.crc32(zeros, crc)
    trailer = struct.pack("<LL", crc, size % 2**32)
    return first + more * (size // MIB - 1) + last + trailer


def zstd_bomb(size: int = -1) -> bytes:
    """Return zeros as the library packs them; with a `size`, the frame begins with it."""
    stream = zstandard.ZstdCompressor().compressobj(size=size)
    zeros = bytes(MIB)
    return b"".join(stream.compress(zeros) for _ in range(BOMB_BYTES // MIB)) + stream.flush()


def zstd_bomb_by_hand(size: int = BOMB_BYTES) -> bytes:
    """Return the densest there is: blocks of four bytes that unpack to 128 KiB each."""
    block_bytes = 128 * 1024
    exponent = ZSTD_WINDOW_BYTES_MAX.bit_length() - 1 - 10
    header = b"\x28\xb5\x2f\xfd" + bytes([0, exponent << 3])
    count = size // block_bytes
    blocks = [(block_bytes << 3 | 1 << 1 | (n == count - 1)).to_bytes(3, "little") + b" " for n in range(count)]  # fmt: skip
    return header + b"".join(blocks)


BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "gzip": ("gzip", gzip_bomb),
    "zstd": ("zstd", zstd_bomb),
    "zstd that says its size": ("zstd", lambda: zstd_bomb(BOMB_BYTES)),
    "zstd by hand": ("zstd", zstd_bomb_by_hand),
}
# A wall, so that memory which no Python object holds counts as well.
UNPACK = """
import resource, sys
from pathlib import Path
import psutil
from sync.api.inflate import inflate
from sync.errors import LimitExceeded

encoding, path, bytes_max, growth_bytes_max = sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:])
packed = path.read_bytes()
wall = psutil.Process().memory_info().vms + growth_bytes_max
resource.setrlimit(resource.RLIMIT_AS, (wall, wall))
try:
    inflate(encoding, packed, bytes_max)
except LimitExceeded as refused:
    print(refused.limit)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the wall does not stand on other systems")
@pytest.mark.parametrize("case", BOMBS)
def test_bomb_is_refused_with_flat_memory(case: str, tmp_path: Path) -> None:
    """A gigabyte that comes in a megabyte or less must not take the server down with it."""
    encoding, make = BOMBS[case]
    path = tmp_path / "bomb"
    path.write_bytes(make())
    assert path.stat().st_size < 4 * MIB  # the limit for what is compressed lets it in

    child = subprocess.run(  # noqa: S603  # our own lines
        [sys.executable, "-c", UNPACK, encoding, str(path), str(BYTES_MAX), str(GROWTH_BYTES_MAX)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (child.stdout.strip(), child.stderr) == ("body_bytes_max", "")


@pytest.mark.parametrize(("encoding", "make"), [("gzip", gzip_bomb), ("zstd", zstd_bomb_by_hand)])
def test_bomb_made_by_hand_is_what_it_claims(encoding: str, make: Callable[[int], bytes]) -> None:
    """Good to its end: nothing else about it could be refused."""
    assert inflate(encoding, make(16 * MIB), 16 * MIB).strip(b"\0 ") == b""
    with pytest.raises(LimitExceeded):
        inflate(encoding, make(16 * MIB), 16 * MIB - 1)
