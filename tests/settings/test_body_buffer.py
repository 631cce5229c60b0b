"""Request bodies, as the ASGI entry takes them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from backend import body_buffer
from backend.body_buffer import BodyBuffer

Message = dict[str, Any]
BYTES_MAX, COMPRESSED_BYTES_MAX = 200_000, 100_000


class Echo:
    """An application that keeps what it was given, and answers 200."""

    def __init__(self) -> None:
        self.scope: Message = {}
        self.body: bytes | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope, chunks, has_more = scope, [], True
        while has_more:
            message = await receive()
            chunks.append(message["body"])
            has_more = message["more_body"]
        self.body = b"".join(chunks)
        assert (await receive())["type"] == "http.disconnect"
        await send({"type": "http.response.start", "status": 200, "headers": []})


class Upload:
    """One request, in the chunks that its connection gives; `was_read` counts those."""

    def __init__(self, *chunks: bytes, breaks_off: bool = False) -> None:
        events = [{"type": "http.request", "body": each, "more_body": True} for each in chunks]
        if not breaks_off:
            events[-1]["more_body"] = False
        self.events: list[Message] = [*events, {"type": "http.disconnect"}]
        self.was_read = 0
        self.sent: list[Message] = []

    def send_to(self, application: Any, *headers: tuple[bytes, bytes]) -> None:
        """Carry the request out."""
        scope = {"type": "http", "headers": list(headers)}
        asyncio.run(application(scope, self._receive, self._send))

    async def _receive(self) -> Message:
        self.was_read += 1
        return self.events[self.was_read - 1]

    async def _send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int | None:
        """The answer's."""
        return int(self.sent[0]["status"]) if self.sent else None

    @property
    def problem(self) -> Message:
        """The answer's document."""
        return dict(json.loads(self.sent[1]["body"]))


@pytest.fixture
def echo() -> Echo:
    """Return the application behind the buffer."""
    return Echo()


@pytest.fixture
def buffer(echo: Echo) -> BodyBuffer:
    """Return a buffer before `echo`."""
    return BodyBuffer(echo, bytes_max=BYTES_MAX, compressed_bytes_max=COMPRESSED_BYTES_MAX)


@pytest.mark.parametrize("size", [0, 1, body_buffer.CHUNK_BYTES, 3 * body_buffer.CHUNK_BYTES])
@pytest.mark.parametrize("framing", [(b"transfer-encoding", b"chunked"), (b"content-length", b"")])
def test_body_arrives_whole_with_its_length(
    buffer: BodyBuffer, echo: Echo, size: int, framing: tuple[bytes, bytes]
) -> None:
    """Many HTTP libraries stream a compressed body, and cannot say beforehand how long it is."""
    body = bytes(index % 251 for index in range(size))
    name, value = framing
    upload = Upload(body[: size // 3], body[size // 3 :], b"")

    upload.send_to(
        buffer, (b"cookie", b"a"), (name, value or str(size).encode()), (b"cookie", b"b")
    )

    assert upload.status == 200
    assert echo.body == body
    assert echo.scope["headers"] == [
        (b"cookie", b"a"),
        (b"cookie", b"b"),
        (b"content-length", str(size).encode()),
    ]


def test_body_of_the_largest_size_passes(buffer: BodyBuffer, echo: Echo) -> None:
    """The limit itself is allowed."""
    upload = Upload(b"x" * BYTES_MAX)

    upload.send_to(buffer)

    assert echo.body == b"x" * BYTES_MAX


def test_declared_giant_is_refused_unread(buffer: BodyBuffer, echo: Echo) -> None:
    """Nobody waits for gigabytes that will be thrown away."""
    upload = Upload(b"x")

    upload.send_to(buffer, (b"content-length", str(BYTES_MAX + 1).encode()))

    assert (upload.status, upload.was_read, echo.body) == (413, 0, None)


def test_undeclared_giant_is_refused_where_it_passes_the_limit(
    buffer: BodyBuffer, echo: Echo
) -> None:
    """The limit holds whatever the headers say, or do not say."""
    upload = Upload(*[b"x" * 50_000] * 100)

    upload.send_to(buffer, (b"x-request-id", b"trace-0123"))

    headers = dict(upload.sent[0]["headers"])
    found = upload.problem
    assert (upload.status, upload.was_read, echo.body) == (413, 5, None)
    assert headers[b"content-type"] == b"application/problem+json"
    assert headers[b"connection"] == b"close"
    assert headers[b"x-request-id"] == b"trace-0123"
    assert (found["code"], found["limit"]) == ("limit_exceeded", "body_bytes_max")
    assert (found["maximum"], found["request_id"]) == (BYTES_MAX, "trace-0123")


@pytest.mark.parametrize("encoding", [b"gzip", b" ZSTD", b"br"])
@pytest.mark.parametrize("is_declared", [True, False])
def test_compressed_giant_is_refused_by_its_own_limit(
    buffer: BodyBuffer, echo: Echo, encoding: bytes, is_declared: bool
) -> None:
    """A body that unpacks to more than any endpoint takes need not be kept until somebody looks."""
    upload = Upload(b"x" * COMPRESSED_BYTES_MAX, b"x", b"x" * BYTES_MAX)
    length = [(b"content-length", str(COMPRESSED_BYTES_MAX + 1).encode())] if is_declared else []

    upload.send_to(buffer, (b"content-encoding", encoding), *length)

    found = upload.problem
    assert (upload.status, upload.was_read, echo.body) == (413, 0 if is_declared else 2, None)
    assert (found["limit"], found["maximum"]) == (
        "compressed_body_bytes_max",
        COMPRESSED_BYTES_MAX,
    )


def test_compressed_body_of_the_largest_size_passes(buffer: BodyBuffer, echo: Echo) -> None:
    """The limit itself is allowed, and identity is no compression."""
    for encoding, size in ((b"gzip", COMPRESSED_BYTES_MAX), (b"Identity", BYTES_MAX)):
        upload = Upload(b"x" * size)

        upload.send_to(buffer, (b"content-encoding", encoding))

        assert (upload.status, echo.body) == (200, b"x" * size)


def test_broken_upload_is_not_carried_out(buffer: BodyBuffer, echo: Echo) -> None:
    """A part of a body is no body: the link broke, and nobody hears an answer."""
    upload = Upload(b"[1,", breaks_off=True)

    upload.send_to(buffer)

    assert (upload.sent, echo.body) == ([], None)
