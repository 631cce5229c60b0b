"""Pull: what changed for a device since its cursor.

    request -> stream (head, floor, epoch) -> one page of the log, bounded by head -> respond

The head is read before the page, and the page never goes beyond it; so a cursor never passes a
change that was still to become visible. The floor is read again after the page: what was pruned in
between is missing in it.
"""

from __future__ import annotations

from collections.abc import Collection as Sized
from typing import TYPE_CHECKING

from sync import changelog, epochs, wire
from sync.conf import sync_settings
from sync.cursor import Cursor, parse_cursor, render_cursor, scope_digest
from sync.errors import CursorExpired, EpochChanged, ParameterInvalid, ScopesChanged
from sync.registry import ranked_collections
from sync.types import Actor, ChangeOp

if TYPE_CHECKING:
    import datetime


def pull(
    actor: Actor,
    *,
    cursor: str | None,
    limit: int | None,
    collections: Sized[str],
    now: datetime.datetime,
) -> bytes:
    """Return the next page for `actor` as JSON; without `cursor`, the first of a first sync.

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
    _check_floor(place, changelog.read_stream(actor.tenant_id))  # pruned while it was read
    is_full = len(page) == page_rows
    reached = page[-1].seq if is_full else stream.head
    following = Cursor(
        tenant_id=actor.tenant_id,
        epoch=stream.epoch,
        scopes=seen,
        seq=reached,
        live_until=place.live_until,
    )
    return wire.render_page(
        [c for c in page if c.op is ChangeOp.UPSERT or c.seq > place.live_until],
        cursor=render_cursor(following, key),
        has_more=reached < stream.head,
        now=now,
    )


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
    if given.epoch != stream.epoch:
        raise EpochChanged
    ahead = max(given.seq, given.live_until)
    if ahead > stream.head:  # we have signed it: what it has read was lost in a restore
        epochs.note_cursor_ahead(given.tenant_id, epoch=given.epoch, seq=ahead)
        raise EpochChanged
    _check_floor(given, stream)
    if given.scopes != seen:
        raise ScopesChanged
    return given


def _check_floor(place: Cursor, stream: changelog.StreamState) -> None:
    """Refuse to go on from where tombstones may be missing."""
    if max(place.seq, place.live_until) < stream.floor:
        raise CursorExpired
