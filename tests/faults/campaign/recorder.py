"""The recorder on a device's line: each request and its answer, byte for byte, as it happens."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import httpx2

from tests.faults.campaign.history import Exchange, History

CANARY: Final = re.compile(rb"canary-[0-9]+-")


class Sender(Protocol):
    """Whose line it is."""

    number: int
    history: History

    def count_down(self) -> None:
        """A request goes out, or its answer is here: whoever may die, dies of it."""

    def reach(self, path: str) -> None:
        """A request to `path` is on its way."""


class Recorder(httpx2.BaseTransport):
    """Notes each request of a device and its answer, byte for byte."""

    def __init__(self, device: Sender) -> None:
        self._device = device
        self._inner = httpx2.HTTPTransport()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request, and return its answer, which is noted as it is read."""
        self._device.count_down()
        body = request.read()
        self._device.reach(request.url.path)
        try:
            response = self._inner.handle_request(request)
        except httpx2.HTTPError:
            self._note(request, body, None, b"")
            raise
        assert isinstance(response.stream, httpx2.SyncByteStream)
        stream = _Tee(response.stream, lambda pieces: self._take(request, body, response, pieces))
        return httpx2.Response(
            status_code=response.status_code, headers=response.headers, stream=stream,
            extensions=response.extensions,
        )  # fmt: skip

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()

    def _take(
        self,
        request: httpx2.Request,
        body: bytes,
        response: httpx2.Response,
        pieces: bytes | None,
    ) -> None:
        """Note a whole answer; None is one that broke off."""
        text = b"" if pieces is None else pieces
        if response.headers.get("content-encoding") == "gzip":
            text = zlib.decompressobj(31).decompress(text)
        self._note(request, body, response if pieces is not None else None, text)
        self._device.count_down()

    def _note(
        self,
        request: httpx2.Request,
        body: bytes,
        response: httpx2.Response | None,
        text: bytes,
    ) -> None:
        history = self._device.history
        own = history.canary.encode()
        history.exchanges.append(
            Exchange(
                device=self._device.number,
                path=request.url.path,
                key=request.headers.get("idempotency-key", "").strip('"'),
                body=_hash(body),
                status=response.status_code if response else 0,
                answer=_hash(text) if response else "",
                is_replay=bool(response and "idempotency-replayed" in response.headers),
                has_retry_after=bool(response and "retry-after" in response.headers),
                strangers=frozenset(
                    found.decode() for found in CANARY.findall(text) if found != own
                ),
            )
        )


class _Tee(httpx2.SyncByteStream):
    """An answer's body, which is handed over whole once it has come."""

    def __init__(
        self, stream: httpx2.SyncByteStream, take: Callable[[bytes | None], None]
    ) -> None:
        self._stream = stream
        self._take = take
        self._is_over = False

    def __iter__(self) -> Iterator[bytes]:
        pieces: list[bytes] = []
        try:
            for piece in self._stream:
                pieces.append(piece)
                yield piece
        except httpx2.HTTPError:
            self._is_over = True
            self._take(None)
            raise
        self._is_over = True
        self._take(b"".join(pieces))

    def close(self) -> None:
        self._stream.close()


def _hash(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest() if text else ""
