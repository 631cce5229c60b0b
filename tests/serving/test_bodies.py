"""Request bodies, as the server takes them."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from backend.serving import bodies
from backend.serving.bodies import BodyReader
from sync.errors import LimitExceeded

Message = dict[str, Any]
BYTES_MAX, COMPRESSED_BYTES_MAX = 2_000_000, 1_000_000
READER = BodyReader(bytes_max=BYTES_MAX, compressed_bytes_max=COMPRESSED_BYTES_MAX)


class Upload:
    """One request, in the chunks that its connection gives; `was_read` counts those."""

    def __init__(self, *chunks: bytes, breaks_off: bool = False) -> None:
        events = [{"type": "http.request", "body": each, "more_body": True} for each in chunks]
        if not breaks_off:
            events[-1]["more_body"] = False
        self.events: list[Message] = [*events, {"type": "http.disconnect"}]
        self.was_read = 0

    def read(self, *headers: tuple[bytes, bytes]) -> bytes | None:
        """Return the body as the server has it, checked against its length."""
        body = asyncio.run(READER.read({"headers": list(headers)}, self._receive))
        if body is None:
            return None
        with body.file:
            found = body.file.read()
        assert len(found) == body.length
        return found

    async def _receive(self) -> Message:
        self.was_read += 1
        return self.events[self.was_read - 1]


@pytest.mark.parametrize("size", [0, 1, 70_000, bodies.MEMORY_BYTES_MAX, BYTES_MAX])
@pytest.mark.parametrize("parts", [1, 3])
def test_body_arrives_whole_with_its_length(size: int, parts: int) -> None:
    """Many HTTP libraries stream a compressed body, and cannot say beforehand how long it is."""
    body = bytes(index % 251 for index in range(size))
    cuts = [round(size * part / parts) for part in range(parts + 1)]
    upload = Upload(*[body[a:b] for a, b in itertools.pairwise(cuts)])

    assert upload.read((b"transfer-encoding", b"chunked")) == body


def test_declared_giant_is_refused_unread() -> None:
    """Nobody waits for gigabytes that will be thrown away."""
    upload = Upload(b"x")

    with pytest.raises(LimitExceeded):
        upload.read((b"content-length", str(BYTES_MAX + 1).encode()))

    assert upload.was_read == 0


@pytest.mark.parametrize("chunk_bytes", [BYTES_MAX // 4, BYTES_MAX + 1])
def test_undeclared_giant_is_refused_where_it_passes_the_limit(chunk_bytes: int) -> None:
    """The limit holds whatever the headers say, or do not say."""
    upload = Upload(*[b"x" * chunk_bytes] * 100)

    with pytest.raises(LimitExceeded) as refused:
        upload.read()

    assert upload.was_read == BYTES_MAX // chunk_bytes + 1
    assert (refused.value.limit, refused.value.maximum) == ("body_bytes_max", BYTES_MAX)


@pytest.mark.parametrize("encoding", [b"gzip", b" ZSTD", b"br"])
@pytest.mark.parametrize("is_declared", [True, False])
def test_compressed_giant_is_refused_by_its_own_limit(encoding: bytes, is_declared: bool) -> None:
    """A body that unpacks to more than any endpoint takes need not be kept until somebody looks."""
    upload = Upload(b"x" * COMPRESSED_BYTES_MAX, b"x", b"x" * BYTES_MAX)
    length = [(b"content-length", str(COMPRESSED_BYTES_MAX + 1).encode())] if is_declared else []

    with pytest.raises(LimitExceeded) as refused:
        upload.read((b"content-encoding", encoding), *length)

    assert upload.was_read == (0 if is_declared else 2)
    assert (refused.value.limit, refused.value.maximum) == (
        "compressed_body_bytes_max",
        COMPRESSED_BYTES_MAX,
    )


def test_compressed_body_of_the_largest_size_passes() -> None:
    """The limit itself is allowed, and identity is no compression."""
    for encoding, size in ((b"gzip", COMPRESSED_BYTES_MAX), (b"Identity", BYTES_MAX)):
        assert Upload(b"x" * size).read((b"content-encoding", encoding)) == b"x" * size


@pytest.mark.parametrize("chunks", [[b""], [b"[1,"], [b"[1,", b"2"]])
def test_broken_upload_is_no_body(chunks: list[bytes]) -> None:
    """A part of a body is not to be carried out: the link broke, and nobody hears an answer."""
    assert Upload(*chunks, breaks_off=True).read() is None
