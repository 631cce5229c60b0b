"""Answers, as a server and what stands between write them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

HTML = "<html><body>Welcome to the station's Wi-Fi</body></html>"
PIECE_BYTES = 997  # of a stream: lines never end where its pieces do


def answer(status: int, body: bytes, headers: dict[str, str] | None = None) -> httpx2.Response:
    """A JSON answer of these exact bytes."""
    kind = {"content-type": "application/json"}
    return httpx2.Response(status, headers=kind | (headers or {}), content=body)


def problem(status: int, code: str, headers: dict[str, str] | None = None) -> httpx2.Response:
    """A problem document."""
    body = {
        "status": status,
        "code": code,
        "title": code,
        "detail": f"{code}.",
        "request_id": "r1",
    }
    kind = {"content-type": "application/problem+json"}
    return httpx2.Response(
        status, headers=kind | (headers or {}), content=json.dumps(body).encode()
    )


def render(value: Any) -> str:
    """`value` as JSON, as the server writes it: no blanks, no escapes that are not needed."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def in_pieces(response: httpx2.Response, cut_after: int | None = None) -> httpx2.Response:
    """`response` as it comes over a link, lost after so many bytes."""
    headers = {name: value for name, value in response.headers.items() if name != "content-length"}
    stream = Pieces(response.content, cut_after)
    return httpx2.Response(response.status_code, headers=headers, stream=stream)


class Pieces(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A body in small pieces, for either kind of client."""

    def __init__(self, body: bytes, cut_after: int | None = None) -> None:
        self._body = body if cut_after is None else body[:cut_after]
        self._is_cut = cut_after is not None

    def __iter__(self) -> Iterator[bytes]:
        for at in range(0, len(self._body), PIECE_BYTES):
            yield self._body[at : at + PIECE_BYTES]
        if self._is_cut:
            raise httpx2.ReadError("connection reset")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece
