"""A phone that does nothing but pull, and forgets nothing that it ever was.

    page -> fold (upsert: put; delete, scope_exit: drop) -> a moment: cursor and rows

It can be put back to any of its moments, as a phone is that was restored or cloned. Each page is
searched for what belongs to another tenant.
"""

from __future__ import annotations

import dataclasses
import re
from typing import NamedTuple
from uuid import UUID

import msgspec
from msgspec import Raw

from sync import feed
from sync.errors import CursorExpired
from sync.types import Actor, ChangeOp, RowKey
from tests.laws.crew import NOW, Crew
from tests.laws.truth import Rows, read_seen

PAGES_MAX = 2_000  # a pull that has not ended by then loops
_CANARY = re.compile(rb"canary-(\d+);")

Seen = tuple[frozenset[str], tuple[str, ...]]  # what a page was read with: scopes, collections


class PulledLine(msgspec.Struct):
    """One change of a page; `data` is as it came."""

    op: ChangeOp
    collection: str
    id: str
    version: int | None = None
    own: bool | None = None
    data: Raw = Raw()  # only of an upsert

    @property
    def key(self) -> RowKey:
        return RowKey(self.collection, self.id)


class Page(msgspec.Struct):
    """An answer to a pull."""

    cursor: str
    has_more: bool
    server_time: str
    changes: list[PulledLine]


class Moment(NamedTuple):
    """What a phone was when it had taken a page; `before` is the moment that it was before."""

    cursor: str | None
    rows: Rows
    before: int | None
    seen: Seen | None  # what the page was read with
    whole_at: int | None  # the head, when nothing was left to read


NEW = Moment(cursor=None, rows={}, before=None, seen=None, whole_at=None)
_decode = msgspec.json.Decoder(Page).decode


@dataclasses.dataclass(slots=True, kw_only=True)
class Replica:
    """One phone of one person."""

    crew: Crew
    person: UUID
    device_id: UUID
    collections: tuple[str, ...] = ()  # empty: all
    moments: list[Moment] = dataclasses.field(default_factory=lambda: [NEW])
    now: int = 0  # which of the moments it is in

    @property
    def cursor(self) -> str | None:
        return self.moments[self.now].cursor

    @property
    def rows(self) -> Rows:
        return self.moments[self.now].rows

    def pull_page(self, limit: int, *, is_lost: bool = False) -> Page:
        """Pull one page and fold it in, unless the answer `is_lost`."""
        actor = self.crew.actor(self.person, self.device_id)
        try:
            page = self._ask(actor, limit)
        except CursorExpired:
            self._start_over()
            page = self._ask(actor, limit)
        assert len(page.changes) <= limit
        assert not page.has_more or page.cursor != self.cursor, "a page that leads nowhere"
        if not is_lost:
            self._take(page, (actor.scopes, self.collections))
        return page

    def pull(self, limit: int) -> None:
        """Pull to the end, while nobody writes; what then holds is law."""
        is_first = self.cursor is None
        lines: list[PulledLine] = []
        for _ in range(PAGES_MAX):
            page = self.pull_page(limit)
            lines += page.changes
            if not page.has_more:
                break
        else:
            raise AssertionError("the pages of this pull never end")
        expected = read_seen(self.crew.tenant_id, self.person, self.collections)
        check_rows(self.rows, expected)
        check_lines(lines, expected, is_first=is_first)

    def clone(self, cursor: int, rows: int) -> Replica:
        """Return another phone with the cursor of one moment and the rows of one."""
        moment = self.moments[cursor]._replace(rows=self.moments[rows].rows, before=None)
        return dataclasses.replace(self, moments=[moment], now=0)

    def ancestors(self) -> list[int]:
        """Return the moments before this one whose cursors lead its rows home as well.

        All that came since was read with what it reads with now; so if a row of it goes, that is
        in the feed behind them.
        """
        seen = (self.crew.actor(self.person).scopes, self.collections)
        found: list[int] = []
        at = self.now
        while (before := self.moments[at].before) is not None and self.moments[at].seen == seen:
            at = before
            if self.moments[at].cursor is None:
                break
            found.append(at)
        return found

    def _ask(self, actor: Actor, limit: int) -> Page:
        page = feed.pull(actor, cursor=self.cursor, limit=limit, collections=self.collections)
        body = page.render(NOW)
        assert set(_CANARY.findall(body)) <= {str(self.crew.number).encode()}, "of another tenant"
        return _decode(body)

    def _start_over(self) -> None:
        """Forget the cursor and all rows, as it is told; never without need."""
        whole_at, floor = self.moments[self.now].whole_at, self.crew.floor()
        assert whole_at is None or whole_at < floor, "it had read all that was pruned"
        self.moments.append(NEW)
        self.now = len(self.moments) - 1

    def _take(self, page: Page, seen: Seen) -> None:
        rows = dict(self.rows)
        for line in page.changes:
            if line.op is ChangeOp.UPSERT:
                assert line.version is not None
                rows[line.key] = line.version, bytes(line.data)
            else:
                rows.pop(line.key, None)
        whole_at = None if page.has_more else self.crew.head()
        self.moments.append(Moment(page.cursor, rows, self.now, seen, whole_at))
        self.now = len(self.moments) - 1


def check_rows(rows: Rows, expected: Rows) -> None:
    """Law of the fold and of the scopes: a phone holds what its person sees, byte for byte."""
    assert sorted(rows.keys() - expected.keys()) == [], "it holds what it is not to see"
    assert sorted(expected.keys() - rows.keys()) == [], "it lacks what it is to see"
    differ = {key: (rows[key], expected[key]) for key in rows if rows[key] != expected[key]}
    assert differ == {}, "it holds other versions or bytes"


def check_lines(lines: list[PulledLine], expected: Rows, *, is_first: bool) -> None:
    """Law of compaction: each row once, however often it was edited."""
    upserts = sorted(line.key for line in lines if line.op is ChangeOp.UPSERT)
    assert len(upserts) == len(set(upserts)), "a row came twice"
    assert set(upserts) <= expected.keys(), "a row came that is not to be seen"
    if is_first:
        assert len(lines) == len(upserts) == len(expected), "a first sync told of what is gone"
