"""Digests: a replica proves that it equals the server, and repairs only what differs.

    digest  cursor -> stream -> sums of all buckets, and whether the device is behind
    rows    one bucket -> its live rows, as a pull sends them

A device compares the sums with those of its own rows, and asks for the rows of the buckets that
differ. `docs/protocol.md` says how both sides compute them.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Collection as Sized
from typing import TYPE_CHECKING, Final

from sync import changelog, holdings, wire
from sync.clock import render_time
from sync.conf import sync_settings
from sync.cursor import Cursor, parse_cursor, scope_digest
from sync.errors import CursorExpired, EpochChanged, ParameterInvalid, ScopesChanged
from sync.registry import ranked_collections
from sync.types import Actor, Wire

if TYPE_CHECKING:
    import datetime

BUCKETS: Final = 256  # one byte of a hash: in 50,000 rows, a damaged one costs 200 to repair


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """The digest as JSON, under the tag that stands for it; no body if that tag was known."""

    etag: str
    body: bytes | None


def read_digest(
    actor: Actor,
    *,
    cursor: str | None,
    collections: Sized[str],
    known_etags: Sized[str],
    now: datetime.datetime,
) -> Digest:
    """Return what `actor` holds, summed up by buckets; with a `cursor`, whether it is behind.

    `collections` narrows it as it does a pull; empty means all.

    Raises:
        CursorInvalid, ParameterInvalid: the request is wrong.
        CursorExpired, EpochChanged, ScopesChanged: forget the cursor and pull afresh.
    """
    for name in collections:
        _check_collection("collections", name)
    key = sync_settings().cursor_key
    given = parse_cursor(cursor, key, actor.tenant_id) if cursor else None
    stream = changelog.read_stream(actor.tenant_id)
    seen = scope_digest([*actor.scopes, *(f"only {name}" for name in collections)])
    if given:
        _check_place(given, stream, seen)
    etag = _render_etag(stream, seen, cursor)
    if etag in known_etags:
        return Digest(etag=etag, body=None)
    sums = holdings.read_sums(
        actor.tenant_id, actor.scopes, collections, news_after=given.seq if given else None
    )
    body: Wire = {"server_time": render_time(now)}
    if given:
        body["behind"] = sums.has_news
    names = collections or ranked_collections()
    body["collections"] = {
        name: _render_sums(sums.buckets.get(name, {}))
        for name in [*dict.fromkeys([*names, *sums.buckets])]
    }
    return Digest(etag=etag, body=wire.encode(body))


def read_rows(
    actor: Actor,
    *,
    collection: str,
    bucket: int,
    after: str | None,
    limit: int | None,
    now: datetime.datetime,
) -> bytes:
    """Return the live rows of one bucket that `actor` sees, as upserts, in order of their ids.

    At most `limit`, from behind the id `after` on.

    Raises:
        ParameterInvalid: there is no such collection or bucket, or the limit is out of bounds.
    """
    _check_collection("collection", collection)
    if not 0 <= bucket < BUCKETS:
        raise ParameterInvalid("bucket", f"must be from 0 to {BUCKETS - 1}")
    asked = holdings.Bucket(
        collection=collection,
        number=bucket,
        after=wire.canonical_id(after or ""),
        limit=_page_rows(limit),
    )
    rows, has_more = holdings.read_rows(actor.tenant_id, actor.scopes, asked, actor.device_id)
    return wire.render_rows(rows, has_more=has_more, now=now)


def _check_collection(parameter: str, name: str) -> None:
    if name not in ranked_collections():
        raise ParameterInvalid(parameter, f"there is no collection {name!r}")


def _page_rows(limit: int | None) -> int:
    limits = sync_settings()
    if limit is None:
        return limits.pull_page_rows_default
    if not 1 <= limit <= limits.pull_page_rows_max:
        raise ParameterInvalid("limit", f"must be from 1 to {limits.pull_page_rows_max}")
    return limit


def _check_place(given: Cursor, stream: changelog.StreamState, seen: bytes) -> None:
    """Raise unless a pull could go on from `given`."""
    if given.epoch != stream.epoch or given.seq > stream.head:
        raise EpochChanged
    if max(given.seq, given.live_until) < stream.floor:
        raise CursorExpired
    if given.scopes != seen:
        raise ScopesChanged


def _render_etag(stream: changelog.StreamState, seen: bytes, cursor: str | None) -> str:
    """Return what stands for the answer: it follows from head, scope set and cursor alone.

    A weak one: what it stands for is the sums, not the bytes, which say the time.
    """
    asked = hashlib.sha256(stream.epoch.bytes + seen + (cursor or "").encode())
    return f'W/"{stream.head}-{asked.hexdigest()[:16]}"'


def _render_sums(buckets: dict[int, holdings.Sum]) -> Wire:
    checksum = 0
    for each in buckets.values():
        checksum ^= each.checksum
    return {
        "count": sum(each.rows for each in buckets.values()),
        "checksum": wire.render_checksum(checksum),
        "buckets": {
            str(number): {"count": each.rows, "checksum": wire.render_checksum(each.checksum)}
            for number, each in buckets.items()
        },
    }
