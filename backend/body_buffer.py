"""Request bodies, read whole and bounded before a worker thread is taken.

    receive --(capped)--> spooled file --> Content-Length as counted -> the application

A slow upload holds a socket and no thread; a body without Content-Length, which WSGI would take
for an empty one, is as good as any other; and what is larger than any endpoint takes ends here in
a 413, whatever its headers claim.
"""

from __future__ import annotations

import dataclasses
import logging
import tempfile
from typing import IO, TYPE_CHECKING, Any, cast

from backend.request_id import HEADER, choose_request_id
from sync.api.exception_handler import problem
from sync.errors import LimitExceeded

if TYPE_CHECKING:
    from a2wsgi.asgi_typing import ASGIApp, HTTPScope, Receive, ReceiveEvent, Scope, Send

log = logging.getLogger(__name__)

MEMORY_BYTES_MAX = 512 * 1024  # 500 rows fit; more waits on disk: memory stays flat in a crowd
CHUNK_BYTES = 64 * 1024
FRAMING = (b"content-length", b"transfer-encoding")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Limit:
    """How long a body may be, by the name under which the limit is published."""

    name: str
    bytes_max: int

    def check(self, bytes_found: int) -> None:
        if bytes_found > self.bytes_max:
            raise LimitExceeded(self.name, self.bytes_max)


class BodyBuffer:
    """An ASGI application around another, which gets each body whole."""

    def __init__(self, app: ASGIApp, *, bytes_max: int, compressed_bytes_max: int) -> None:
        self.app = app
        self.bytes_max = bytes_max
        self.compressed_bytes_max = compressed_bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self._limit_of(scope)
        with tempfile.SpooledTemporaryFile(MEMORY_BYTES_MAX) as body:
            try:
                limit.check(_declared_bytes(scope))
                is_whole = await _fill(body, receive, limit)
            except LimitExceeded as error:
                await _refuse(error, scope, send)
                return
            if is_whole:  # else the client is gone: nobody to answer
                whole = _describe(scope, body.tell())
                body.seek(0)
                await self.app(whole, _replay(body, receive), send)

    def _limit_of(self, scope: HTTPScope) -> _Limit:
        """Return what the body may have; what it unpacks to is for those who unpack it."""
        encoding = dict(scope["headers"]).get(b"content-encoding", b"identity")
        if encoding.strip().lower() == b"identity":
            return _Limit(name="body_bytes_max", bytes_max=self.bytes_max)
        return _Limit(name="compressed_body_bytes_max", bytes_max=self.compressed_bytes_max)


async def _fill(body: IO[bytes], receive: Receive, limit: _Limit) -> bool:
    """Read the body into `body`; return whether it came to its end."""
    while True:
        message = cast("dict[str, Any]", await receive())
        if message["type"] != "http.request":
            return False
        body.write(message.get("body", b""))
        limit.check(body.tell())
        if not message.get("more_body", False):
            return True


def _declared_bytes(scope: HTTPScope) -> int:
    """Return the Content-Length, 0 where there is none; the server saw to its being digits."""
    return int(dict(scope["headers"]).get(b"content-length", b"0"))


def _describe(scope: HTTPScope, body_bytes: int) -> HTTPScope:
    """Return the request with its body's true length in its headers."""
    kept = [pair for pair in scope["headers"] if pair[0] not in FRAMING]
    return {**scope, "headers": [*kept, (b"content-length", str(body_bytes).encode())]}


def _replay(body: IO[bytes], receive: Receive) -> Receive:
    """Return what the application receives: the body from its start, then what else comes."""
    is_done = False

    async def replay() -> ReceiveEvent:
        nonlocal is_done
        if is_done:
            return await receive()
        chunk = body.read(CHUNK_BYTES)
        is_done = len(chunk) < CHUNK_BYTES
        return {"type": "http.request", "body": chunk, "more_body": not is_done}

    return replay


async def _refuse(error: LimitExceeded, scope: HTTPScope, send: Send) -> None:
    given = dict(scope["headers"]).get(HEADER.lower().encode(), b"").decode("latin-1")
    request_id = choose_request_id(given)
    log.warning("request %s refused: %s", request_id, error)
    answer = problem(
        status=error.status,
        code=error.code,
        title=error.title,
        detail=str(error),
        members=error.members,
        request_id=request_id,
    )
    answer.headers[HEADER] = request_id
    answer.headers["Connection"] = "close"  # the rest of the body is not worth reading
    body = answer.rendered_content
    headers = [(name.lower().encode(), value.encode()) for name, value in answer.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
