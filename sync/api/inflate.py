"""Compressed bodies, unpacked: never more than a limit, whatever the bytes promise. Pure.

    compressed bytes --inflate, capped--> decoded bytes

One member of gzip, or one frame of zstd, and nothing behind it: no client library makes more, and
millions of empty ones would be work without an end.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Mapping

import zstandard

from sync.errors import BodyMalformed, LimitExceeded

_GZIP = 16 + zlib.MAX_WBITS  # zlib's way to say: gzip header and trailer
ZSTD_WINDOW_BYTES_MAX = 8 * 1024 * 1024  # what HTTP allows a sender. Source: RFC 9659, section 3
# The library takes no limit of output, so its input is rationed: 4 bytes, the smallest block that
# there is, unpack to 128 KiB at the most, and a slice to 8 MiB.
ZSTD_SLICE_BYTES = 256


def inflate(encoding: str, compressed: bytes, bytes_max: int) -> bytes:
    """Return what `compressed` unpacks to; `encoding` is one of `ENCODINGS`.

    Raises:
        LimitExceeded: more than `bytes_max` bytes; the rest was not unpacked.
        BodyMalformed: the bytes are broken, end early, or something follows them.
    """
    return _INFLATERS[encoding](compressed, bytes_max)


def _gunzip(compressed: bytes, bytes_max: int) -> bytes:
    inflater = zlib.decompressobj(_GZIP)
    try:
        body = inflater.decompress(compressed, bytes_max + 1)
    except zlib.error:
        raise BodyMalformed("The gzip is broken.") from None
    if len(body) > bytes_max:
        raise LimitExceeded("body_bytes_max", bytes_max)
    if not inflater.eof or inflater.unused_data:
        raise BodyMalformed("The gzip ends early, or something follows it.")
    return body


def _unzstd(compressed: bytes, bytes_max: int) -> bytes:
    frame = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES_MAX).decompressobj()
    body = io.BytesIO()
    given, position = memoryview(compressed), 0
    while not frame.eof and position < len(given):
        try:
            body.write(frame.decompress(given[position : position + ZSTD_SLICE_BYTES]))
        except zstandard.ZstdError as error:  # its text says whether it is the window
            raise BodyMalformed(f"The zstd is broken: {error}.") from None
        position += ZSTD_SLICE_BYTES
        if body.tell() > bytes_max:
            raise LimitExceeded("body_bytes_max", bytes_max)
    if not frame.eof or frame.unused_data or position < len(given):
        raise BodyMalformed("The zstd ends early, or something follows it.")
    return body.getvalue()


_INFLATERS: Mapping[str, Callable[[bytes, int], bytes]] = {"gzip": _gunzip, "zstd": _unzstd}
ENCODINGS = tuple(_INFLATERS)  # as `Content-Encoding` names them
