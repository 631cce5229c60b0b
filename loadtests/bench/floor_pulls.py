"""The floor's pulls: the same reads as a pull of the product, with nothing around them.

    page      who, where -> 304, or one page of the log -> one value that goes out as it comes
    stream    who, where -> page after page, the next one read while this one is packed and sent
    digest    who, where -> sums

Whoever asks is believed, but looked up: whether they are still welcome, and what they may see, is
one query for the product too. The cursor is not signed, and says nothing of scopes.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol
from urllib.parse import parse_qs

import msgspec
import psycopg
import zstandard

from loadtests.bench import floor_pull_sql as sql
from loadtests.bench.pulls import PAGE_ROWS, UNSIGNED
from sync.clock import render_time, utc_now

GZIP_LEVEL, ZSTD_LEVEL = 6, 3  # the product's
FEW_SCOPES: Final = 4  # so many are simply looked through, a page of each

Connection = psycopg.AsyncConnection[tuple[Any, ...]]
SendBody = Callable[[bytes, bool], Awaitable[None]]  # and whether there is more


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is pulled by whom."""

    tenant: str
    user: str
    device: str
    cursor: str = ""
    limit: int = PAGE_ROWS
    etag: str = ""
    encoding: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What a device may see, and where the feed is."""

    scopes: Sequence[str]
    epoch: str
    head: int

    @property
    def etag(self) -> str:
        """What stands for all of it."""
        seen = hashlib.blake2b("\0".join([self.epoch, *self.scopes]).encode(), digest_size=8)
        return f'W/"{self.head}-{seen.hexdigest()}"'


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What has been read, up to where there is something, and where a first sync began."""

    after: int
    until: int
    live_until: int

    @property
    def has_more(self) -> bool:
        """Whether the head is not reached."""
        return self.after < self.until

    def render(self) -> bytes:
        """Return what a page says of it."""
        more = b"true" if self.has_more else b"false"
        return b'{"cursor":"%d.%d","has_more":%b,"server_time":"%b"' % (
            self.after,
            self.live_until,
            more,
            render_time(utc_now()).encode(),
        )


class Packer(Protocol):
    """What both kinds of packers have."""

    def compress(self, data: bytes, /) -> bytes:
        """Take `data` in."""

    def flush(self, mode: int = ..., /) -> bytes:
        """Give out what was taken in."""


def parse(headers: Mapping[bytes, bytes], query: bytes) -> Asked:
    """Return what a request asks for."""
    given = {name: values[0] for name, values in parse_qs(query.decode()).items()}
    return Asked(
        tenant=headers[b"x-tenant"].decode(),
        user=headers[b"x-user"].decode(),
        device=headers[b"x-device"].decode(),
        cursor=given.get("cursor", ""),
        limit=int(given.get("limit", PAGE_ROWS)),
        etag=headers.get(b"if-none-match", b"").decode(),
        encoding=headers.get(b"accept-encoding", b"").decode(),
    )


async def look(connection: Connection, asked: Asked) -> Sight | None:
    """Return what the device may see; None if it is not welcome."""
    given = {"tenant": asked.tenant, "user": asked.user, "device": asked.device}
    found = await (await connection.execute(sql.WHO, given)).fetchone()
    return Sight(scopes=found[0], epoch=found[1], head=found[2]) if found else None


async def read_page(connection: Connection, asked: Asked, sight: Sight) -> bytes | None:
    """Return one page as JSON; None if nothing is new since the answer that the device has."""
    window = _open(asked, sight)
    if not window.has_more and asked.etag == sight.etag:
        return None
    changes, window = await _read(connection, asked, sight, window, ",")
    return b'%b,"changes":[%b]}' % (window.render(), changes)


async def stream(connection: Connection, asked: Asked, sight: Sight, send: SendBody) -> None:
    """Send all that there is, a line each, with the cursor after each page."""
    packer, flush_mode = _make_packer(asked.encoding)
    window = _open(asked, sight)
    reading = asyncio.ensure_future(_read(connection, asked, sight, window, "\n"))
    while True:
        changes, window = await reading
        if window.has_more:
            reading = asyncio.ensure_future(_read(connection, asked, sight, window, "\n"))
        lines = b"%b%b%b}\n" % (changes, b"\n" if changes else b"", window.render())
        if packer:
            lines = await asyncio.to_thread(_pack, packer, lines, flush_mode)
        if not window.has_more:
            await send(lines + (packer.flush() if packer else b""), False)  # noqa: FBT003
            return
        await send(lines, True)  # noqa: FBT003


async def read_digest(connection: Connection, asked: Asked, sight: Sight) -> bytes:
    """Return the sums of what the device holds."""
    given = {"tenant": asked.tenant, "scopes": sight.scopes}
    found = await (await connection.execute(sql.SUMS, given)).fetchall()
    collections: dict[str, Any] = {}
    totals: dict[str, int] = {}
    for name, bucket, rows, checksum in found:
        sums = collections.setdefault(name, {"count": 0, "checksum": "", "buckets": {}})
        sums["count"] += rows
        sums["buckets"][str(bucket)] = {"count": rows, "checksum": _hex(checksum)}
        totals[name] = totals.get(name, 0) ^ checksum
        sums["checksum"] = _hex(totals[name])
    answer = {"server_time": render_time(utc_now()), "collections": collections}
    return msgspec.json.encode(answer)


def _open(asked: Asked, sight: Sight) -> Window:
    if not asked.cursor:
        return Window(after=0, until=sight.head, live_until=sight.head)
    after, _, live_until = asked.cursor.partition(".")
    return Window(after=int(after), until=sight.head, live_until=int(live_until))


async def _read(
    connection: Connection, asked: Asked, sight: Sight, window: Window, border: str
) -> tuple[bytes, Window]:
    """Return the changes of a page, and what is left."""
    if not window.has_more:
        return b"", window
    given = {
        "tenant": asked.tenant,
        "device": asked.device,
        "scopes": sight.scopes,
        "after": window.after,
        "until": window.until,
        "live_until": window.live_until,
        "limit": asked.limit,
        **_looks(asked, sight, window),
        "border": border,
    }
    cursor = await connection.execute(sql.PAGE, given, binary=True)
    result = cursor.pgresult
    if result is None:
        message = "a page without a result"
        raise TypeError(message)
    changes, end = (result.get_value(0, n) for n in range(2))  # bytes: nothing is decoded
    return changes or b"", dataclasses.replace(window, after=int.from_bytes(end or b""))


def _looks(asked: Asked, sight: Sight, window: Window) -> dict[str, int]:
    """Return how many seqs of each scope to look at for the end of a page; 0 for none."""
    if window.until - window.after <= asked.limit:
        return {"few": 0, "many": 0}  # seqs are dense: it is a page, or less
    scopes = len(sight.scopes)
    few = 0 if scopes <= FEW_SCOPES else 2 * asked.limit // scopes + 16
    return {"few": few, "many": asked.limit}


def _make_packer(encoding: str) -> tuple[Packer | None, int]:
    """Return a packer, and how it is told to give out a chunk."""
    match encoding:
        case "gzip":
            return zlib.compressobj(GZIP_LEVEL, wbits=16 + zlib.MAX_WBITS), zlib.Z_SYNC_FLUSH
        case "zstd":
            packer = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compressobj()
            return packer, zstandard.COMPRESSOBJ_FLUSH_BLOCK
        case _:
            return None, 0


def _pack(packer: Packer, lines: bytes, flush_mode: int) -> bytes:
    return packer.compress(lines) + packer.flush(flush_mode)


def _hex(checksum: int) -> str:
    return f"{checksum & UNSIGNED:016x}"
