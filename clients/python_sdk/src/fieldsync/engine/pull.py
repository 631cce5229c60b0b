"""Pull: bring the replica up to the server's state.

    poll     cursor, tag -> 304: all is here          -> page, and more to come: as below
    stream   cursor -> lines -> [ one transaction: changes up to a cursor line, acks that they
             show, that cursor ] -> ... -> the head.  Cut: on from the last cursor line
    410      -> forget the cursor, pull afresh; at its end, what was not seen leaves

A fresh pull has a generation number: rows carry the one that saw them last, so that it can stop
and go on anywhere. Pending edits are never overwritten, and never vanish with their row: they
become issues.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from fieldsync.echoes import Echoes
from fieldsync.engine.report import QUIET, Meter
from fieldsync.errors import ServerBug, TransportFailure
from fieldsync.lines import Lines
from fieldsync.listeners import Cause
from fieldsync.machine import State
from fieldsync.steps import read, read_all
from fieldsync.transport import Request
from fieldsync.verdict import CURSOR_INVALID, NOT_ACCEPTABLE, NOT_MODIFIED, find_lost_cursor
from fieldsync.wire import (
    Op,
    Outcome,
    PullPage,
    Unreadable,
    parse_pull,
    raw_object,
)

if TYPE_CHECKING:
    from fieldsync.engine.local import Local
    from fieldsync.engine.report import SyncReport
    from fieldsync.engine.session import Session
    from fieldsync.engine.settings import Settings
    from fieldsync.outbox import Ack
    from fieldsync.retry import RetryBudget
    from fieldsync.steps import Steps
    from fieldsync.transport import Answer, AsyncStream, Stream
    from fieldsync.wire import Change

    Name = tuple[str, str]

PAGE_ROWS_MAX = 1000  # the server's default limit; of a stream, changes between two cursors
FAILED_STREAMS_MAX = 2  # then pages: a thousand rows get through where more do not
NDJSON = "application/x-ndjson"
# The server may not be the one, or not have the history, that has acknowledged what was sent.
OTHER_HISTORY = frozenset({"epoch_changed", CURSOR_INVALID})


class Came(Enum):
    """What one answer came to."""

    ALL = auto()  # this device has all there is
    MORE = auto()
    GONE = auto()  # the cursor is of no use any more


class _Run(msgspec.Struct):
    """One run of pulls."""

    budget: RetryBudget
    report: SyncReport
    meter: Meter
    done: int = 0  # changes applied
    has_more: bool = False  # a page said so: a stream is worth it
    is_afresh: bool = False  # it has begun anew
    put_back: bool = False  # what the server had lost: it is to be pushed
    failed_streams: int = 0  # in a row, that brought nothing

    @property
    def can_stream(self) -> bool:
        """Whether nothing seems to stand in the way: a proxy that collects it all, a bad link."""
        return self.failed_streams < FAILED_STREAMS_MAX


class _Place(msgspec.Struct, frozen=True, kw_only=True):
    """How far the replica is."""

    cursor: str | None
    etag: str | None
    is_fresh: bool


class Pull:
    """The pulling half of a sync."""

    def __init__(self, local: Local, session: Session, settings: Settings) -> None:
        self._local = local
        self._store = local.store
        self._outbox = local.outbox
        self._echoes = Echoes(local.store.writer)
        self._now = settings.now
        self._session = session
        self._collections = ",".join(settings.collections)

    def run(self, budget: RetryBudget, report: SyncReport, *, meter: Meter = QUIET) -> Steps[bool]:
        """Pull until nothing is left. False when there is to be pushed, then pulled again.

        So it is when the cursor is gone, and behind the fresh pull from a server with another
        history: that comes first, since it says what has to be sent once more.
        """
        run = _Run(budget, report, meter)
        meter.note(State.PULLING, 0)
        while True:  # each answer moves the cursor, or takes of the budget
            came = yield from self._session.retrying(lambda: self._ask(run), budget)
            if came is Came.GONE and not run.is_afresh and self._store.get_meta("is_restored"):
                run.is_afresh = True
                continue
            if came is not Came.MORE:
                return came is Came.ALL and not run.put_back

    def scope(self) -> dict[str, str | int]:
        """The parameter that says which collections are synced, unless all are."""
        return {"collections": self._collections} if self._collections else {}

    def restart(self, code: str) -> None:
        """Forget the cursor. After a restore, what was acked but never seen is queued again.

        What was seen is, too, if the fresh pull does not show it.
        """
        with self._store.transaction():
            self._store.set_meta(cursor=None)
            if code in OTHER_HISTORY:
                self._store.set_meta(is_restored="yes")
                self._put_back(self._outbox.take_acks())

    def _put_back(self, acks: list[Ack]) -> None:
        """Queue what was applied once more, oldest first, before what waits."""
        for ack in reversed(acks):
            edit = ack.edit
            if edit.op is Op.CREATE:
                edit = replace(edit, base_version=ack.version)
            self._local.enqueue_first(ack.collection, ack.row_id, edit, base=None)

    # asking

    def _ask(self, run: _Run) -> Steps[Came]:
        """One request, and all that comes of it. Raises: what a retry may cure, and what not."""
        place = self._begin()
        as_stream = run.can_stream and (place.is_fresh or run.has_more)
        before = run.done
        try:
            return (yield from self._follow(place, run, as_stream=as_stream))
        except (TransportFailure, Unreadable):
            run.failed_streams += as_stream
            if run.done > before:
                run.failed_streams = 0
            raise

    def _follow(self, place: _Place, run: _Run, *, as_stream: bool) -> Steps[Came]:
        """One request from `place`, and all that comes of it."""
        request = self._request(place, as_stream=as_stream)
        try:
            answer = yield from self._session.ask(request, as_stream=as_stream)
        except ServerBug as error:
            if not as_stream or error.status != NOT_ACCEPTABLE:
                raise
            run.failed_streams = FAILED_STREAMS_MAX
            return Came.MORE
        if lost := find_lost_cursor(answer):
            self.restart(lost)
            return Came.GONE
        if answer.status == NOT_MODIFIED and place.etag is not None:
            return Came.ALL
        return (yield from self._take(answer, place, run))

    def _begin(self) -> _Place:
        """The place to pull from; without a cursor a fresh pull begins here."""
        store = self._store
        with store.transaction():
            cursor = store.get_meta("cursor")
            if cursor is None:
                generation = store.generation + 1
                store.set_meta(generation=str(generation), is_fresh="yes")
            return _Place(
                cursor=cursor,
                etag=store.get_meta("etag") if cursor else None,
                is_fresh=store.get_meta("is_fresh") is not None,
            )

    def _request(self, place: _Place, *, as_stream: bool) -> Request:
        """The same words for the same place: a server may answer them again from memory."""
        params: dict[str, str | int] = {"limit": PAGE_ROWS_MAX, **self.scope()}
        headers = {}
        if place.cursor is not None:
            params["cursor"] = place.cursor
        if as_stream:
            headers["Accept"] = f"{NDJSON}, application/problem+json"
        elif place.etag is not None:
            headers["If-None-Match"] = place.etag
        return Request(method="GET", path="sync/pull", params=params, headers=headers)

    def _take(self, answer: Answer, place: _Place, run: _Run) -> Steps[Came]:
        """Apply what has come, as a page or as a stream."""
        if answer.stream is not None and answer.kind == NDJSON:
            return (yield from self._read_lines(answer.stream, place.cursor, run))
        body = answer.body
        if answer.stream is not None:
            body = yield from read_all(answer.stream)
        page = parse_pull(body)
        if not self._apply(place.cursor, page, run, etag=answer.headers.get("etag")):
            return Came.MORE
        run.has_more = page.has_more
        return Came.MORE if page.has_more else Came.ALL

    def _read_lines(
        self, stream: Stream | AsyncStream, cursor: str | None, run: _Run
    ) -> Steps[Came]:
        """Apply a stream as it comes. Raises: TransportFailure, Unreadable when it is cut."""
        lines, began_at = Lines(), cursor
        while piece := (yield from read(stream)):
            for page in lines.feed(piece):
                if not self._apply(cursor, page, run):
                    return Came.MORE
                cursor = page.cursor
                run.budget.note_progress()
                if not page.has_more:
                    return Came.ALL
        if cursor == began_at:
            raise TransportFailure("a stream that ends before its first cursor")
        return Came.MORE

    # applying

    def _apply(
        self, cursor: str | None, page: PullPage, run: _Run, *, etag: str | None = None
    ) -> bool:
        """The page and its cursor, in one transaction; False if another process was there first.

        Raises: ServerBug for a page that makes no sense; then nothing of it is kept.
        """
        if page.has_more and page.cursor == cursor:
            raise ServerBug(code="cursor_stuck", detail="has_more, but the cursor stands still")
        store = self._store
        with store.transaction(Cause.PULL):
            if store.get_meta("cursor") != cursor:
                return False
            generation = store.generation
            if page.changes:
                self._apply_changes(page.changes, generation, run.report)
            store.set_meta(cursor=page.cursor, etag=etag)
            if not page.has_more:
                self._finish(generation, run)
        run.done += len(page.changes)
        run.report.pulled += len(page.changes)
        run.meter.note(State.PULLING, run.done)
        return True

    def _apply_changes(self, changes: list[Change], generation: int, report: SyncReport) -> None:
        """The last word on each row counts: a row that leaves and comes again is here."""
        rows: dict[Name, tuple[str, str, int, str, int]] = {}
        gone: dict[Name, Change] = {}
        for change in changes:
            name = (change.collection, change.id)
            if change.op == "upsert":
                text = raw_object(change.data)
                if text is None or change.version is None or not change.id:
                    raise ServerBug(code="change_unreadable", detail=f"{change.op} of {name}")
                gone.pop(name, None)
                rows[name] = (*name, change.version, text, generation)
            elif change.op in LEAVES:
                rows.pop(name, None)
                gone[name] = change
            else:
                raise ServerBug(code="change_unreadable", detail=f"{change.op} of {name}")
        self._store.put_rows(rows.values())
        self._store.drop_rows(gone)
        self._echoes.drop(gone)
        for name in self._outbox.list_names():  # few rows have edits
            if name in rows:
                _, _, version, *_ = rows[name]
                self._echoes.keep(*name, up_to=version, now=self._now())
                self._outbox.clear_acks(*name, up_to=version)
            elif name in gone:
                self._take_leave(name, gone[name], report)

    def _take_leave(self, name: Name, change: Change, report: SyncReport) -> None:
        """A row that has edits here is gone."""
        version = change.version if change.op == "delete" else None
        if version is not None:
            self._echoes.keep_delete(*name, version=version, now=self._now())
        self._outbox.clear_acks(*name, up_to=version)
        self._refuse(name, LEAVES[change.op], report)

    def _refuse(self, name: Name, why: tuple[Outcome, str], report: SyncReport) -> None:
        """The row has left the replica; an edit that waits for it becomes an issue."""
        pending = self._outbox.get_pending(*name)
        if pending is None or self._outbox.get_sent(*name) is not None:
            return  # with an edit on its way, the answer to that decides
        outcome, code = why
        is_done = pending.edit.op is Op.DELETE and outcome is Outcome.GONE
        if pending.edit.groups and not is_done:
            return  # the server has to refuse all of its group, or the rest would go without it
        self._outbox.remove(pending)
        if is_done:
            return
        self._local.refuse(pending, pending.edit, outcome=outcome, code=code, detail=DETAILS[code])
        report.issues += 1

    def _finish(self, generation: int, run: _Run) -> None:
        """All is here: what a fresh pull has not shown leaves, and so do acks of no interest."""
        store = self._store
        self._echoes.prune(self._now())
        if store.get_meta("is_fresh"):
            self._sweep(generation, run)
            store.set_meta(is_fresh=None, is_restored=None, checked_at=None)
        if (store.get_meta("collections") or "") != self._collections:
            if self._collections:
                self._outbox.keep_acks(self._collections.split(","))
                self._echoes.keep_collections(self._collections.split(","))
            store.set_meta(collections=self._collections)

    def _sweep(self, generation: int, run: _Run) -> None:
        """End of a fresh pull: rows that it did not show are no longer ours.

        Neither are acks from before it began; those given since are spared, and so are their
        rows, because the pages may have been read before. After a restore, what we know to have
        been applied and is not there is sent once more.
        """
        self._outbox.clear_acks_before(generation)
        lost: list[Ack] = []
        if self._store.get_meta("is_restored"):
            lost = self._echoes.take_lost(generation)
            self._put_back(lost)
            run.put_back = bool(self._outbox.count_pending())
        unseen = self._store.list_unseen(generation)
        edited = self._outbox.list_names() if unseen else set()
        left = [name for name in unseen if name not in edited or not self._outbox.list_acks(*name)]
        self._store.drop_rows(left)
        self._echoes.drop(left)
        put_back = {(ack.collection, ack.row_id) for ack in lost}
        for name in edited.intersection(left) - put_back:
            self._refuse(name, (Outcome.NOT_FOUND, "missing_after_restart"), run.report)


LEAVES = {
    "delete": (Outcome.GONE, "deleted_elsewhere"),
    "scope_exit": (Outcome.NOT_FOUND, "scope_exit"),
}
DETAILS = {
    "deleted_elsewhere": "The row was deleted by somebody else while it was edited here.",
    "scope_exit": "The row is no longer assigned to this device; it was edited here meanwhile.",
    "missing_after_restart": "The row is no longer on the server; it was edited here meanwhile.",
}
