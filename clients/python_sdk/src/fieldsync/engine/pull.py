"""Pull: bring the replica up to the server's state.

    cursor -> page -> [ one transaction: changes, acks that they show, the new cursor ] -> ...
    410    -> forget the cursor, pull afresh; at its end, what was not seen leaves

A fresh pull has a generation number: rows carry the one that saw them last, so that it can stop
and go on anywhere. Pending edits are never overwritten, and never vanish with their row: they
become issues.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fieldsync.errors import ServerBug
from fieldsync.listeners import Cause
from fieldsync.store import ServerRow
from fieldsync.transport import GONE, Request
from fieldsync.wire import (
    Change,
    Op,
    Outcome,
    PullPage,
    parse_problem,
    parse_pull,
    raw_object,
)

if TYPE_CHECKING:
    from fieldsync.engine.local import Local
    from fieldsync.engine.report import SyncReport
    from fieldsync.engine.session import Session
    from fieldsync.retry import RetryBudget
    from fieldsync.steps import Steps
    from fieldsync.transport import Answer

PAGE_ROWS_MAX = 1000  # the server's default limit
EPOCH_CHANGED = "epoch_changed"


class Pull:
    """The pulling half of a sync."""

    def __init__(self, local: Local, session: Session) -> None:
        self._local = local
        self._store = local.store
        self._outbox = local.outbox
        self._session = session

    def run(self, budget: RetryBudget, report: SyncReport) -> Steps[bool]:
        """Pull until nothing is left. False when the cursor is gone: push, then run again."""
        while True:  # each page moves the cursor
            cursor = self._begin()
            page = yield from self._fetch(cursor, budget)
            if isinstance(page, str):
                self._restart(page)
                return False
            if page.has_more and page.cursor == cursor:
                raise ServerBug(
                    code="cursor_stuck", detail="has_more, but the cursor stands still"
                )
            self._apply(cursor, page, report)
            if not page.has_more:
                return True

    def _begin(self) -> str | None:
        """The cursor to pull from; without one a fresh pull begins here."""
        with self._store.transaction():
            cursor = self._store.get_meta("cursor")
            if cursor is None:
                generation = self._store.generation + 1
                self._store.set_meta(generation=str(generation), is_fresh="yes")
            return cursor

    def _fetch(self, cursor: str | None, budget: RetryBudget) -> Steps[PullPage | str]:
        """The next page, or the code of the 410 that ends this cursor."""
        params: dict[str, str | int] = {"limit": PAGE_ROWS_MAX}
        if cursor is not None:
            params["cursor"] = cursor

        def parse(answer: Answer) -> PullPage | str:
            if answer.status == GONE:
                return parse_problem(answer.body).code
            return parse_pull(answer.body)

        request = Request(method="GET", path="sync/pull", params=params)
        return (yield from self._session.call(request, parse, budget))

    def _restart(self, code: str) -> None:
        """Forget the cursor. After a restore, what was acked but never seen is queued again."""
        with self._store.transaction():
            self._store.set_meta(cursor=None)
            if code != EPOCH_CHANGED:
                return
            for ack in reversed(self._outbox.take_acks()):
                edit = ack.edit
                if edit.op is Op.CREATE:
                    edit = replace(edit, base_version=ack.version)
                self._local.enqueue_first(ack.collection, ack.row_id, edit, base=None)

    # applying

    def _apply(self, cursor: str | None, page: PullPage, report: SyncReport) -> None:
        """The page and its cursor, in one transaction."""
        with self._store.transaction(Cause.PULL):
            if self._store.get_meta("cursor") != cursor:
                return  # another process on this store has pulled meanwhile
            generation = self._store.generation
            for change in page.changes:
                self._apply_change(change, generation, report)
            self._store.set_meta(cursor=page.cursor)
            if not page.has_more and self._store.get_meta("is_fresh"):
                self._sweep(generation, report)
                self._store.set_meta(is_fresh=None)
        report.pulled += len(page.changes)

    def _apply_change(self, change: Change, generation: int, report: SyncReport) -> None:
        name = (change.collection, change.id)
        text = raw_object(change.data)
        match change.op:
            case "delete":
                self._outbox.clear_acks(*name, up_to=change.version)
                self._drop(name, Outcome.GONE, "deleted_elsewhere", report)
            case "scope_exit":
                self._outbox.clear_acks(*name)
                self._drop(name, Outcome.NOT_FOUND, "scope_exit", report)
            case _ if text is not None and change.version is not None:
                row = ServerRow(
                    collection=change.collection,
                    row_id=change.id,
                    version=change.version,
                    text=text,
                )
                self._store.put_row(row, generation=generation)
                self._outbox.clear_acks(*name, up_to=change.version)
            case _:
                raise ServerBug(code="change_unreadable", detail=f"{change.op} of {name}")

    def _drop(
        self, name: tuple[str, str], outcome: Outcome, code: str, report: SyncReport
    ) -> None:
        """The row leaves the replica; an edit that waits for it becomes an issue."""
        self._store.drop_row(*name)
        pending = self._outbox.get_pending(*name)
        if pending is None or self._outbox.get_sent(*name) is not None:
            return  # with an edit on its way, the answer to that decides
        self._outbox.remove(pending)
        if pending.edit.op is Op.DELETE:
            return  # what the user wanted
        self._local.refuse(pending, pending.edit, outcome=outcome, code=code, detail=DETAILS[code])
        report.issues += 1

    def _sweep(self, generation: int, report: SyncReport) -> None:
        """End of a fresh pull: rows that it did not show are no longer ours.

        Neither are acks from before it began; those given since are spared, and so are their
        rows, because the pages may have been read before.
        """
        self._outbox.clear_acks_before(generation)
        for name in self._store.list_unseen(generation):
            if not self._outbox.list_acks(*name):
                self._drop(name, Outcome.NOT_FOUND, "missing_after_restart", report)


DETAILS = {
    "deleted_elsewhere": "The row was deleted by somebody else while it was edited here.",
    "scope_exit": "The row is no longer assigned to this device; it was edited here meanwhile.",
    "missing_after_restart": "The row is no longer on the server; it was edited here meanwhile.",
}
