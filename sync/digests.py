"""Digests: a replica proves that it equals the server, and repairs only what differs.

    digest  cursor -> stream -> sums of all buckets, and whether the device is behind
    rows    one bucket -> its live rows, as a pull sends them

A device compares the sums with those of its own rows, and asks for the rows of the buckets that
differ. `docs/protocol.md` says how both sides compute them.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection as Sized
from typing import TYPE_CHECKING, Final

from sync import changelog, feed, holdings, wire
from sync.clock import render_time
from sync.conf import sync_settings
from sync.cursor import Phase, parse_cursor
from sync.errors import ParameterInvalid
from sync.read_replica import Source
from sync.registry import ranked_collections
from sync.row_security import for_actor
from sync.scope_set import ScopeSet
from sync.types import Actor, Wire

if TYPE_CHECKING:
    import datetime

BUCKETS: Final = 256  # one byte of a hash: in 50,000 rows, a damaged one costs 200 to repair


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """The digest as JSON, under the tag that stands for it; no body if the device has it."""

    etag: str
    body: bytes | None


@for_actor
def read_digest(
    actor: Actor,
    *,
    cursor: str | None,
    collections: Sized[str],
    is_known: Callable[[str], bool],
    now: datetime.datetime,
) -> Digest:
    """Return what `actor` holds, summed up by buckets; with a `cursor`, whether it is behind.

    `collections` narrows it as it does a pull; empty means all. `is_known` says whether the device
    has the digest that a tag stands for: then nothing is summed up.

    Raises:
        CursorInvalid, ParameterInvalid: the request is wrong.
        CursorExpired, EpochChanged: forget the cursor and pull afresh.
    """
    chosen = feed.choose_collections(actor, collections)
    key = sync_settings().cursor_key
    given = parse_cursor(cursor, key, actor.tenant_id) if cursor else None
    stream = changelog.stream_of(actor)
    to = ScopeSet(actor.scopes, chosen)
    if given:
        feed.check_place(actor.tenant_id, given, stream)
    etag = wire.render_etag(stream.epoch, stream.head, to.digest + (cursor or "").encode())
    if is_known(etag):
        return Digest(etag=etag, body=None)
    is_in_feed = given is not None and given.phase is Phase.FEED and given.to == to.digest
    source = Source(tenant_id=actor.tenant_id, epoch=stream.epoch, head=stream.head)
    sums = holdings.read_sums(
        actor.tenant_id,
        to,
        news_after=given.seq if given and is_in_feed else None,
        fetch=functools.partial(source.fetch, place=stream.head),  # which the tag stands for
    )
    body: Wire = {"server_time": render_time(now)}
    if given:
        body["behind"] = not is_in_feed or sums.has_news
    names = collections or [name for name in ranked_collections() if actor.may_read(name)]
    body["collections"] = {
        name: _render_sums(sums.buckets.get(name, {}))
        for name in [*dict.fromkeys([*names, *sums.buckets])]
    }
    return Digest(etag=etag, body=wire.encode(body))


@for_actor
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
    if collection not in ranked_collections() or not actor.may_read(collection):
        raise ParameterInvalid("collection", f"there is no collection {collection!r}")
    if not 0 <= bucket < BUCKETS:
        raise ParameterInvalid("bucket", f"must be from 0 to {BUCKETS - 1}")
    asked = holdings.Bucket(
        collection=collection,
        number=bucket,
        after=wire.canonical_id(after or ""),
        limit=feed.page_rows(limit),
    )
    rows, has_more = holdings.read_rows(actor, asked)
    return wire.render_rows(rows, has_more=has_more, now=now)


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
