"""Pull: what changed for a device since its cursor.

    cursor -> stream (head, floor, epoch) -> place in the feed -> pages of the log -> Page

The head is read before the page, and the page never goes beyond it; so a cursor never passes a
change that was still to become visible. The floor is read with the page again: what was pruned
meanwhile is missing in it. Pages come from the read replica, if there is one, as far as it has
what the device needs; all else is the primary's. What a device that holds other scopes than
before is told first is in `cursor.Phase`; whatever it has read, it can go on from there.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
from collections.abc import Collection as Sized
from typing import TYPE_CHECKING, Final

import msgspec

from sync import changelog, epochs, pages, wire
from sync.conf import sync_settings
from sync.cursor import Cursor, Phase, parse_cursor, render_cursor
from sync.errors import AppTooOld, CursorExpired, EpochChanged, ParameterInvalid
from sync.read_replica import Fetch, Source
from sync.registry import ranked_collections
from sync.row_security import for_actor
from sync.scope_set import ScopeSet
from sync.signals import tell_pull_answered

if TYPE_CHECKING:
    from uuid import UUID

    from sync.types import Actor, StreamState

STEPS_MAX: Final = 20  # queries a page: a device may lose any number of scopes at once


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Changes as JSON, `told` of them, each a line; and where the device is then."""

    changes: bytes
    told: int
    cursor: str
    has_more: bool
    head: int
    etag: str

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing for the device, now."""
        return not self.told and not self.has_more

    def render(self, now: datetime.datetime) -> bytes:
        """Return it as an answer; its lines must stand with commas in between."""
        return wire.render_page(self.changes, cursor=self.cursor, has_more=self.has_more, now=now)

    def render_lines(self, now: datetime.datetime) -> bytes:
        """Return it as part of a stream; each of its lines must be one."""
        return wire.render_lines(self.changes, cursor=self.cursor, has_more=self.has_more, now=now)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """What all steps of a page have in common; see `cursor` for the three sets."""

    actor: Actor
    stream: StreamState
    source: Source
    to: ScopeSet
    held: ScopeSet
    known: ScopeSet
    border: str

    def is_done(self, place: Cursor) -> bool:
        return place.phase is Phase.FEED and place.seq == self.stream.head

    def fetch_at(self, place: Cursor) -> Fetch:
        """Return what reads the page at `place`.

        A replica must know of what was deleted or left up to `live_until`: that is not told.
        """
        return functools.partial(self.source.fetch, place=max(place.seq, place.live_until))


@for_actor
def pull(
    actor: Actor,
    *,
    cursor: str | None,
    limit: int | None,
    collections: Sized[str],
    border: str = ",",
) -> Page:
    """Return the next page for `actor`; without `cursor`, the first of a first sync.

    `collections` narrows the feed; empty means all. `border` is what stands between two changes.

    Raises:
        CursorInvalid, ParameterInvalid: the request is wrong.
        CursorExpired, EpochChanged: forget the cursor and pull afresh.
        AppTooOld: the app must be updated first.
    """
    if actor.upgrade_to:
        raise AppTooOld(actor.upgrade_to)
    rows_left = page_rows(limit)
    chosen = choose_collections(actor, collections)
    key = sync_settings().cursor_key
    given = parse_cursor(cursor, key, actor.tenant_id) if cursor else None
    stream = changelog.stream_of(actor)
    to = ScopeSet(actor.scopes, chosen)
    reading, place = _open(actor, stream, to, given, border)
    parts: list[bytes] = []
    told = 0
    for _ in range(STEPS_MAX):
        if rows_left <= 0 or reading.is_done(place):
            break
        before = place
        lines, place = _STEPS[place.phase](reading, before, rows_left)
        _check_floor(before, lines.floor)  # pruned while it was read
        rows_left -= lines.scanned
        told += lines.told
        parts += [lines.json] if lines.json else []
    if reading.is_done(place):
        tell_pull_answered(actor, stream.head)
    return Page(
        changes=border.encode().join(parts),
        told=told,
        cursor=cursor if cursor and place is given else render_cursor(place, key, actor.tenant_id),
        has_more=not reading.is_done(place),
        head=stream.head,
        etag=wire.render_etag(stream.epoch, stream.head, to.digest),
    )


def page_rows(limit: int | None) -> int:
    """Return how many rows a page that is asked for with `limit` may have.

    Raises:
        ParameterInvalid: it is out of bounds.
    """
    limits = sync_settings()
    if limit is None:
        return limits.pull_page_rows_default
    if not 1 <= limit <= limits.pull_page_rows_max:
        raise ParameterInvalid("limit", f"must be from 1 to {limits.pull_page_rows_max}")
    return limit


def choose_collections(actor: Actor, names: Sized[str]) -> frozenset[str] | None:
    """Return what is read of the collections that were asked for; None for all there are.

    Raises:
        ParameterInvalid: one of them is not registered, or not for this actor.
    """
    for name in names:
        if name not in ranked_collections() or not actor.may_read(name):
            raise ParameterInvalid("collections", f"there is no collection {name!r}")
    return frozenset(names) or actor.reads


def _open(
    actor: Actor,
    stream: StreamState,
    to: ScopeSet,
    given: Cursor | None,
    border: str,
) -> tuple[_Reading, Cursor]:
    """Return where to read on, and with which sets."""

    def reading(held: ScopeSet, known: ScopeSet) -> _Reading:
        return _Reading(
            actor=actor,
            stream=stream,
            source=Source(tenant_id=actor.tenant_id, epoch=stream.epoch, head=stream.head),
            to=to,
            held=held,
            known=known,
            border=border,
        )

    if given is None:
        pages.remember(actor.tenant_id, [to])
        place = Cursor(epoch=stream.epoch.bytes, to=to.digest, seq=0, live_until=stream.head)
        return reading(to, to), place
    check_place(actor.tenant_id, given, stream)
    if given.to == to.digest and given.phase is Phase.FEED:
        return reading(to, to), given
    held, known = _recall(actor, given)
    if given.to == to.digest:
        return reading(held, known), given
    known = known.meet(to)
    pages.remember(actor.tenant_id, [to, known])
    place = msgspec.structs.replace(
        given,
        to=to.digest,
        held=held.digest,
        known=known.digest,
        phase=Phase.EXITS,
        step=0,
        row=None,
    )
    return reading(held, known), place


def check_place(tenant_id: UUID, given: Cursor, stream: StreamState) -> None:
    """Raise unless the feed can go on from `given` without a hole."""
    if given.epoch != stream.epoch.bytes:
        raise EpochChanged
    ahead = max(given.seq, given.live_until)
    if ahead > stream.head:  # we have signed it: what it has read was lost in a restore
        epochs.note_cursor_ahead(tenant_id, epoch=stream.epoch, seq=ahead)
        raise EpochChanged
    _check_floor(given, stream.floor)


def _check_floor(place: Cursor, floor: int) -> None:
    """Refuse to go on from where tombstones may be missing."""
    if max(place.seq, place.live_until) < floor:
        raise CursorExpired


def _recall(actor: Actor, given: Cursor) -> tuple[ScopeSet, ScopeSet]:
    """Return what the device may hold rows of, and what it has all of up to `given.seq`."""
    held = given.held if given.phase is Phase.EXITS else given.to
    known = given.to if given.phase is Phase.FEED else given.known
    sets = pages.recall(actor.tenant_id, {held, known})
    if not {held, known} <= sets.keys():
        raise CursorExpired  # a set that nobody stored: what was told with it cannot be known
    return sets[held], sets[known]


def _let_go(reading: _Reading, place: Cursor, limit: int) -> tuple[pages.Lines, Cursor]:
    """Tell what is in the lost scope that `place` is at, and is not seen any more."""
    lost = reading.held.lost(reading.to)
    if not lost or place.step >= len(lost.scopes):
        return pages.NOTHING, msgspec.structs.replace(place, phase=Phase.ENTRIES, step=0, row=None)
    lines = pages.read_exits(
        reading.actor,
        lost.scopes[place.step],
        lost.collections,
        seq=place.seq,
        to=reading.to,
        after=place.row,
        limit=limit,
        border=reading.border,
        fetch=reading.fetch_at(place),
    )
    if lines.scanned < limit:
        return lines, msgspec.structs.replace(place, step=place.step + 1, row=None)
    return lines, msgspec.structs.replace(place, row=lines.last)


def _enter(reading: _Reading, place: Cursor, limit: int) -> tuple[pages.Lines, Cursor]:
    """Tell what the gained scopes hold, as far as the feed of the others has been read."""
    feed = Cursor(epoch=place.epoch, to=place.to, seq=place.seq, live_until=place.live_until)
    gained = reading.known.gained(reading.to)
    if not gained or place.step >= place.seq:
        return pages.NOTHING, feed
    window = pages.Window(after=place.step, until=place.seq, live_until=place.seq, limit=limit)
    lines = pages.read_page(
        reading.actor, gained, window, border=reading.border, fetch=reading.fetch_at(place)
    )
    if lines.reached >= place.seq:
        return lines, feed
    return lines, msgspec.structs.replace(place, step=lines.reached)


def _follow(reading: _Reading, place: Cursor, limit: int) -> tuple[pages.Lines, Cursor]:
    """Tell what happened since, up to the head."""
    head = reading.stream.head
    window = pages.Window(after=place.seq, until=head, live_until=place.live_until, limit=limit)
    lines = pages.read_page(
        reading.actor,
        reading.to.slice,
        window,
        border=reading.border,
        fetch=reading.fetch_at(place),
    )
    return lines, msgspec.structs.replace(place, seq=lines.reached)


_STEPS: Final = {Phase.EXITS: _let_go, Phase.ENTRIES: _enter, Phase.FEED: _follow}
