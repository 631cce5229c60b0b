"""HTTP/1.1 as the bench's clients speak it: requests as bytes, answers as they came.

    Request --render--> bytes        Link.exchange(bytes) -> Answer --body--> unpacked bytes

An answer keeps what was received, and where in it the body is: it is put together and unpacked
when somebody reads it, after the clock has stopped.
"""

from __future__ import annotations

import dataclasses
import re
import socket
import zlib
from collections.abc import Mapping, Sequence
from typing import Final

import zstandard

from loadtests.bench.errors import BenchFailed

HOST: Final = "127.0.0.1"
ANSWER_S_MAX: Final = 120.0  # far beyond any answer; a server that hangs must end the bench
RECEIVE_BYTES: Final = 256 * 1024
BORDER: Final = b"\r\n\r\n"
LINE_END: Final = b"\r\n"
NOT_MODIFIED: Final = 304  # has no body, and says no length

_PLACE = re.compile(rb'"cursor":"([^"]+)","has_more":(true|false)')
_PLACE_CHARS_MAX: Final = 2_000  # it comes first in a page; nothing else is looked through


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client asks, but for what it says every time (host, token)."""

    method: str
    target: str
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    body: bytes = b""

    def render(self, more_headers: Mapping[str, str]) -> bytes:
        """Return it as it goes on the wire."""
        headers = {"Host": HOST, **self.headers, **more_headers}
        if self.body:
            headers["Content-Length"] = str(len(self.body))
        lines = [f"{self.method} {self.target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join(lines).encode() + BORDER + self.body


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back; `spans` are the parts of `received` that the body consists of."""

    status: int
    headers: Mapping[str, str]
    received: bytearray
    spans: Sequence[tuple[int, int]]

    @property
    def body(self) -> bytes:
        """The body, unpacked.

        Raises:
            BenchFailed: it cannot be unpacked.
        """
        packed = b"".join(self.received[start:end] for start, end in self.spans)
        try:
            return _unpack(packed, self.headers.get("content-encoding"))
        except (zlib.error, zstandard.ZstdError) as error:
            message = f"an answer that cannot be unpacked: {error}"
            raise BenchFailed(message) from None

    def read_place(self) -> tuple[str, bool] | None:
        """Return the cursor of a page and whether there is more; None if it has none.

        It is all that a client looks at while the clock runs.
        """
        if not self.spans:
            return None
        start = self.spans[0][0]
        found = _PLACE.search(self.received, start, start + _PLACE_CHARS_MAX)
        return (found[1].decode(), found[2] == b"true") if found else None


class Link:
    """One connection, on which one exchange follows the other."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection((HOST, port), ANSWER_S_MAX)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def port(self) -> int:
        """Our own port, by which the server's side can be found."""
        return int(self._socket.getsockname()[1])

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def exchange(self, request: bytes) -> Answer:
        """Send a request; return its answer, received to its end.

        Raises:
            BenchFailed: the server hung up, or the answer has no end.
        """
        self._socket.sendall(request)
        received = bytearray()
        while (border := received.find(BORDER)) < 0:
            self._receive_some(received)
        first, *lines = received[:border].decode("latin-1").split("\r\n")
        parted = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in parted}
        status, start = int(first.split()[1]), border + len(BORDER)
        if status == NOT_MODIFIED:
            spans: Sequence[tuple[int, int]] = ()
        elif headers.get("transfer-encoding") == "chunked":
            spans = self._receive_chunks(received, start)
        elif "content-length" in headers:
            end = start + int(headers["content-length"])
            self._receive_up_to(received, end)
            spans = [(start, end)]
        else:
            message = f"an answer without an end: {first} {headers}"
            raise BenchFailed(message)
        return Answer(status=status, headers=headers, received=received, spans=spans)

    def _receive_chunks(self, received: bytearray, at: int) -> list[tuple[int, int]]:
        spans: list[tuple[int, int]] = []
        while True:
            while (line_end := received.find(LINE_END, at)) < 0:
                self._receive_some(received)
            size = int(received[at:line_end], 16)
            start = line_end + len(LINE_END)
            at = start + size + len(LINE_END)
            self._receive_up_to(received, at)
            if not size:
                return spans
            spans.append((start, start + size))

    def _receive_up_to(self, received: bytearray, end: int) -> None:
        while len(received) < end:
            self._receive_some(received)

    def _receive_some(self, received: bytearray) -> None:
        chunk = self._socket.recv(RECEIVE_BYTES)
        if not chunk:
            message = "the server hung up"
            raise BenchFailed(message)
        received += chunk


def _unpack(packed: bytes, encoding: str | None) -> bytes:
    if encoding is None:
        return packed
    if encoding == "gzip":
        return zlib.decompress(packed, wbits=16 + zlib.MAX_WBITS)
    unpacker = zstandard.ZstdDecompressor().decompressobj()
    body = unpacker.decompress(packed)
    if not unpacker.eof:
        message = "it ends early"
        raise zstandard.ZstdError(message)
    return body
