"""Pull: what changed for a device since its cursor.

    request -> stream (head, floor, epoch) -> one page of the log, bounded by head -> respond

The head is read before the page, and the page never goes beyond it; so a cursor never passes a
change that was still to become visible.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection as Sized
from typing import TYPE_CHECKING

from sync import changelog, wire
from sync.conf import sync_settings
from sync.cursor import Cursor, parse_cursor, render_cursor, scope_digest
from sync.errors import CursorExpired, EpochChanged, ParameterInvalid, ScopesChanged
from sync.registry import ranked_collections
from sync.types import Actor, ChangeOp

if TYPE_CHECKING:
    import datetime


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page as it is answered; `head` is how far the feed went when it was read."""

    body: bytes
    head: int
    is_empty: bool
    has_more: bool


def pull(
    actor: Actor,
    *,
    cursor: str | None,
    limit: int | None,
    collections: Sized[str],
    now: datetime.datetime,
) -> Page:
    """Return the next page for `actor`; without `cursor`, the first of a first sync.

    `collections` narrows the feed; empty means all. A cursor continues the same set only.

    Raises:
        CursorInvalid, ParameterInvalid: the request is wrong.
        CursorExpired, EpochChanged, ScopesChanged: forget the cursor and pull afresh.
    """
    page_rows = _page_rows(limit)
    _check_collections(collections)
    key = sync_settings().cursor_key
    given = parse_cursor(cursor, key, actor.tenant_id) if cursor else None
    stream = changelog.read_stream(actor.tenant_id)
    seen = scope_digest([*actor.scopes, *(f"only {name}" for name in collections)])
    place = _continue(given, stream, seen) if given else _begin(actor, stream, seen)
    page = changelog.read_page(
        actor.tenant_id,
        actor.scopes,
        changelog.Window(after=place.seq, until=stream.head, limit=page_rows),
        collections=collections,
        device_id=actor.device_id,
    )
    is_full = len(page) == page_rows
    reached = page[-1].seq if is_full else stream.head
    following = Cursor(
        tenant_id=actor.tenant_id,
        epoch=stream.epoch,
        scopes=seen,
        seq=reached,
        live_until=place.live_until,
    )
    shown = [c for c in page if c.op is ChangeOp.UPSERT or c.seq > place.live_until]
    has_more = reached < stream.head
    body = wire.render_page(
        shown, cursor=render_cursor(following, key), has_more=has_more, now=now
    )
    return Page(body=body, head=stream.head, is_empty=not shown, has_more=has_more)


def _page_rows(limit: int | None) -> int:
    limits = sync_settings()
    if limit is None:
        return limits.pull_page_rows_default
    if not 1 <= limit <= limits.pull_page_rows_max:
        raise ParameterInvalid("limit", f"must be from 1 to {limits.pull_page_rows_max}")
    return limit


def _check_collections(collections: Sized[str]) -> None:
    for name in collections:
        if name not in ranked_collections():
            raise ParameterInvalid("collections", f"there is no collection {name!r}")


def _begin(actor: Actor, stream: changelog.StreamState, seen: bytes) -> Cursor:
    return Cursor(
        tenant_id=actor.tenant_id, epoch=stream.epoch, scopes=seen, seq=0, live_until=stream.head
    )


def _continue(given: Cursor, stream: changelog.StreamState, seen: bytes) -> Cursor:
    """Return `given` if the feed can go on from it without a hole."""
    if given.epoch != stream.epoch or given.seq > stream.head:
        raise EpochChanged
    if max(given.seq, given.live_until) < stream.floor:
        raise CursorExpired
    if given.scopes != seen:
        raise ScopesChanged
    return given
