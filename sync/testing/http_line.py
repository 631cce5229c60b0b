"""HTTP/1.1 messages on a line: where each begins and ends, and nothing more.

    bytes ──> read_head ──> Message(head, length | chunked | until the end) ──> pieces, unchanged

A message is passed on as it came: no field is changed, no chunk is joined or split. Bodies are
read in pieces of at most `PIECE_BYTES`.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator

HEAD_CUT_SHARE = 0.1  # of messages with a body that break off before it
PIECE_BYTES = 65_536  # also the longest head; h11 and httptools refuse longer ones as well
BODYLESS_STATUS = re.compile(rb"^HTTP/1\.[01] (?:1\d\d|204|304)\b")
LENGTH = re.compile(rb"^content-length:[ \t]*(\d+)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
CHUNKED = re.compile(rb"^transfer-encoding:.*\bchunked[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
CLOSING = re.compile(rb"^connection:.*\bclose\b", re.IGNORECASE | re.MULTILINE)
LASTING = re.compile(rb"^connection:.*\bkeep-alive\b", re.IGNORECASE | re.MULTILINE)


class Side:
    """One end of the link."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    async def send(self, piece: bytes) -> None:
        """Send `piece`; waits while the other end is slow."""
        self._writer.write(piece)
        await self._writer.drain()

    def end_sending(self) -> None:
        """Say that nothing more comes, and go on listening."""
        if self._writer.can_write_eof():
            self._writer.write_eof()

    def has_gone(self) -> bool:
        """Whether the other end has hung up, or we have."""
        return self.reader.at_eof() or self._writer.is_closing()

    async def close(self) -> None:
        """End the connection in order: what was sent arrives."""
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()

    def reset(self) -> None:
        """End the connection as a failing network does: with a reset, and at once."""
        raw: socket.socket | None = self._writer.get_extra_info("socket")
        if raw and not self._writer.is_closing():
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A request or an answer: its head, and how to read its body from the line."""

    head: bytes
    reader: asyncio.StreamReader
    length: int | None  # bytes of the body; None when only the line says where it ends
    is_chunked: bool = False

    @classmethod
    def of_request(cls, head: bytes, reader: asyncio.StreamReader) -> Message:
        """A request: without a length it has no body."""
        if CHUNKED.search(head):
            return cls(head=head, reader=reader, length=None, is_chunked=True)
        found = LENGTH.search(head)
        return cls(head=head, reader=reader, length=int(found[1]) if found else 0)

    @classmethod
    def of_answer(cls, head: bytes, reader: asyncio.StreamReader, *, is_to_head: bool) -> Message:
        """An answer: without a length its body goes on until the connection ends."""
        if is_to_head or BODYLESS_STATUS.match(head):
            return cls(head=head, reader=reader, length=0)
        if CHUNKED.search(head) or LENGTH.search(head):
            return cls.of_request(head, reader)
        return cls(head=head, reader=reader, length=None)

    def is_last(self) -> bool:
        """Whether the connection ends with this message."""
        has_no_border = self.length is None and not self.is_chunked
        is_old = b"HTTP/1.0" in self.head.partition(b"\n")[0] and not LASTING.search(self.head)
        return has_no_border or is_old or CLOSING.search(self.head) is not None

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it is on the line, chunk borders included; EOFError if it ends early."""
        if self.is_chunked:
            async for piece in _read_chunks(self.reader):
                yield piece
        elif self.length is None:
            while piece := await self.reader.read(PIECE_BYTES):
                yield piece
        else:
            async for piece in _read_bytes(self.reader, self.length):
                yield piece

    async def pass_on(self, to: Side) -> None:
        """Pass on all of it."""
        await to.send(self.head)
        async for piece in self.pieces():
            await to.send(piece)

    async def pass_part(self, to: Side, rng: random.Random) -> None:
        """Pass on the head and a part of the body; without one, or now and then, of the head."""
        share = rng.random()
        if self.length == 0 or share < HEAD_CUT_SHARE:
            within = share if self.length == 0 else share / HEAD_CUT_SHARE
            await to.send(self.head[: 1 + int(within * (len(self.head) - 1))])
            return
        left = None if self.length is None else int(share * self.length)
        await to.send(self.head)
        async for piece in self.pieces():
            left = int(share * len(piece)) if left is None else left
            await to.send(piece[:left])
            left -= len(piece[:left])
            if not left:
                return


async def read_head(reader: asyncio.StreamReader, *, skipped_lines: int = 0) -> bytes:
    """A head up to its empty line, which may not be among the first `skipped_lines`."""
    head = bytearray()
    count = 0
    while True:
        line = await reader.readuntil(b"\n")
        head += line
        count += 1
        if len(head) > PIECE_BYTES:
            raise asyncio.LimitOverrunError("head too long", len(head))
        if count > skipped_lines and not line.strip():
            return bytes(head)


async def _read_bytes(reader: asyncio.StreamReader, length: int) -> AsyncIterator[bytes]:
    while length:
        piece = await reader.read(min(length, PIECE_BYTES))
        if not piece:
            raise EOFError
        length -= len(piece)
        yield piece


async def _read_chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while True:
        border = await reader.readuntil(b"\n")
        size = int(border.partition(b";")[0], 16)
        if not size:
            yield border + await read_head(reader)  # trailers, and the empty line
            return
        async for piece in _read_bytes(reader, size + len(b"\r\n")):
            yield border + piece
            border = b""


async def drop(pieces: AsyncIterator[bytes]) -> None:
    """Read to the end, keep nothing."""
    async for _ in pieces:
        pass


async def tunnel(one: Side, other: Side, first: bytes = b"") -> None:
    """Pass everything in both directions until both have ended."""
    await other.send(first)
    async with asyncio.TaskGroup() as group:
        group.create_task(_pump(one, other))
        group.create_task(_pump(other, one))


async def _pump(source: Side, target: Side) -> None:
    while piece := await source.reader.read(PIECE_BYTES):
        await target.send(piece)
    target.end_sending()
