"""Answers as bytes: what a push came to, and what a pull brings. Pure.

    results --report_members, encode--> bytes        changes (JSON) --render_page--> bytes

`docs/protocol.md` describes the same shapes in words; `push_body` parses what comes in. Payloads
of rows are spliced in as they are stored (`pages`); they are never parsed on the way out.
"""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from sync.clock import render_time
from sync.types import FieldError, Outcome, Result, Wire

if TYPE_CHECKING:
    from uuid import UUID

_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")


_encoder = msgspec.json.Encoder()


def canonical_id(row_id: str) -> str:
    """Return `row_id` as it is compared: UUIDs in lower case, all else as it is."""
    lower = row_id.lower()  # compared first: most are, and a search costs several times as much
    return lower if lower != row_id and _UUID.fullmatch(row_id) else row_id


def is_uuid(text: str) -> bool:
    """Whether `text` is a UUID in its 36-character form."""
    return _UUID.fullmatch(text) is not None


def fingerprint(route: str, body: bytes) -> bytes:
    """Return what tells two requests under one key apart: 32 bytes over route and decoded body."""
    return hashlib.sha256(route.encode() + b"\0" + body).digest()


def digest(row_id: str, version: int, payload: bytes | None) -> int:
    """Return a row's checksum: 64 bits of SHA-256, signed, over id, version and JSON as sent.

    A hash that every phone has: apps compute it from what they pulled.
    """
    text = b"%b\n%d\n%b" % (row_id.encode(), version, payload or b"")
    return int.from_bytes(hashlib.sha256(text).digest()[:8], signed=True)


def bucket(row_id: str) -> int:
    """Return which of the 256 buckets of a digest the row is in."""
    return hashlib.sha256(row_id.encode()).digest()[0]


def render_checksum(checksum: int) -> str:
    """Return a checksum as 16 hexadecimal digits."""
    return f"{checksum & 0xFFFF_FFFF_FFFF_FFFF:016x}"


def render_payload(row: Wire) -> bytes:
    """Return a row's JSON as it is stored and sent."""
    return _encoder.encode(row)


def splice(payload: bytes, **members: Any) -> bytes:
    """Return a row's JSON with `members` before its own; nothing is parsed."""
    inside = payload[1:-1]
    return _encoder.encode(members)[:-1] + (b"," if inside else b"") + inside + b"}"


def report_status(results: Sequence[Result]) -> str:
    """Return `ok`, `partial` or `rejected`."""
    applied = sum(result.refusal is None for result in results)
    if applied == len(results):
        return "ok"
    return "partial" if applied else "rejected"


def report_members(results: Sequence[Result], now: datetime.datetime) -> Wire:
    """Return the report of a push: one line for every mutation, in their order."""
    return {
        "status": report_status(results),
        "server_time": render_time(now),
        "results": [_render_result(result) for result in results],
    }


def encode(value: Any) -> bytes:
    """Return `value` as JSON."""
    return _encoder.encode(value)


def decode(text: bytes | str) -> Any:
    """Return the value that JSON of our own stands for."""
    return msgspec.json.decode(text)


def render_page(changes: bytes, *, cursor: str, has_more: bool, now: datetime.datetime) -> bytes:
    """Return one page of a pull; `changes` are JSON, with commas in between."""
    place = _render_place(cursor, has_more=has_more, now=now)
    return b'%b,"changes":[%b]}' % (place[:-1], changes)


def render_lines(changes: bytes, *, cursor: str, has_more: bool, now: datetime.datetime) -> bytes:
    """Return a part of a stream: `changes`, a line each, and the cursor behind them."""
    place = _render_place(cursor, has_more=has_more, now=now)
    return b"%b%b%b\n" % (changes, b"\n" if changes else b"", place)


def _render_place(cursor: str, *, has_more: bool, now: datetime.datetime) -> bytes:
    return encode({"cursor": cursor, "has_more": has_more, "server_time": render_time(now)})


def render_etag(epoch: UUID, head: int, scopes: bytes) -> str:
    """Return what stands for all that a scope set sees of a feed at a head.

    A weak one: what it stands for is the changes, not the bytes, which say the time and may be
    compressed.
    """
    seen = hashlib.blake2b(epoch.bytes + scopes, digest_size=8).hexdigest()
    return f'W/"{head}-{seen}"'


def render_rows(rows: Sequence[str], *, has_more: bool, now: datetime.datetime) -> bytes:
    """Return rows that are sent again; `rows` are changes as JSON."""
    place = encode({"has_more": has_more, "server_time": render_time(now)})
    return b'%b,"changes":[%b]}' % (place[:-1], ",".join(rows).encode())


def _render_result(result: Result) -> Wire:
    mutation, refusal = result.mutation, result.refusal
    line: Wire = {
        "index": mutation.index,
        "collection": mutation.collection,
        "id": mutation.id,
        "outcome": result.outcome,
    }
    if refusal is not None:
        line |= {"code": refusal.code, "detail": refusal.detail, **refusal.args}
        if refusal.errors:
            line["errors"] = [_render_error(error) for error in refusal.errors]
        if result.outcome is Outcome.CONFLICT:
            line["base_version"] = mutation.base_version
    if result.quarantine_id is not None:
        line |= {
            "outcome": Outcome.QUARANTINED,
            "refused": result.outcome,
            "quarantine_id": result.quarantine_id,
        }
    if result.version is not None:
        line["version"] = result.version
    if result.current is not None:
        line["current"] = result.current
    return line


def _render_error(error: FieldError) -> Wire:
    return {"path": error.path, "code": error.code, "detail": error.detail, "args": error.args}
