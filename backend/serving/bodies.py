"""Request bodies, read whole and bounded before a worker thread is taken.

    receive --(capped)--> memory, or a spooled file --> Body, of a counted length

A slow upload holds a socket and no thread; a body without Content-Length is as good as any other;
and what is larger than any endpoint takes ends here in a `LimitExceeded`, whatever its headers
claim.
"""

from __future__ import annotations

import dataclasses
import io
import tempfile
from typing import IO, TYPE_CHECKING

from sync.errors import LimitExceeded

if TYPE_CHECKING:
    from backend.serving.asgi_types import Headers, Receive, Scope

MEMORY_BYTES_MAX = 512 * 1024  # 500 rows fit; more waits on disk: memory stays flat in a crowd


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A whole body, and its length."""

    file: IO[bytes]
    length: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Limit:
    """How long a body may be, by the name under which the limit is published."""

    name: str
    bytes_max: int

    def check(self, bytes_found: int) -> None:
        if bytes_found > self.bytes_max:
            raise LimitExceeded(self.name, self.bytes_max)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BodyReader:
    """Reads bodies up to what the largest endpoint takes, as they come over the link."""

    bytes_max: int
    compressed_bytes_max: int

    async def read(self, scope: Scope, receive: Receive) -> Body | None:
        """Return the request's body from its start; None when the client has gone meanwhile.

        Raises:
            LimitExceeded: it is, or says that it is, larger than the limit; the rest is unread.
        """
        headers = dict(scope["headers"])
        limit = self._limit_of(headers)
        limit.check(int(headers.get(b"content-length", b"0")))  # the server saw to its digits
        message = await receive()
        if message["type"] != "http.request":
            return None
        first = message.get("body", b"")
        limit.check(len(first))
        if not message.get("more_body", False):  # nearly all requests: nothing to put together
            return Body(file=io.BytesIO(first), length=len(first))
        return await _read_on(first, receive, limit)

    def _limit_of(self, headers: Headers) -> _Limit:
        """Return what the body may have; what it unpacks to is for those who unpack it."""
        encoding = headers.get(b"content-encoding", b"identity")
        if encoding.strip().lower() == b"identity":
            return _Limit(name="body_bytes_max", bytes_max=self.bytes_max)
        return _Limit(name="compressed_body_bytes_max", bytes_max=self.compressed_bytes_max)


async def _read_on(first: bytes, receive: Receive, limit: _Limit) -> Body | None:
    """Return the body that begins with `first`."""
    file = tempfile.SpooledTemporaryFile(MEMORY_BYTES_MAX)  # noqa: SIM115  # whoever has it closes
    try:
        file.write(first)
        while True:  # ends: at the body's end, at its limit, or when the client goes
            message = await receive()
            if message["type"] != "http.request":
                file.close()
                return None
            file.write(message.get("body", b""))
            limit.check(file.tell())
            if not message.get("more_body", False):
                length = file.tell()
                file.seek(0)
                return Body(file=file, length=length)
    except BaseException:
        file.close()
        raise
