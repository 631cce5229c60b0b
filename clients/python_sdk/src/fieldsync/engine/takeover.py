"""Takeover: the work of a file, into a store that may hold some of it already.

    known here             -> nothing
    alone on its row       -> queued; a batch as it was frozen, with its key and bytes
    among other work here  -> joined to it, or an issue if the two disagree

Whatever of it was sent meanwhile does no harm. Rows keep their ids, edits their base versions and
batches their keys: the server answers from its receipts, with `unchanged`, or with a conflict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from fieldsync.engine.issues import EDITED_HERE_TOO
from fieldsync.errors import WorkUnreadable
from fieldsync.merge import Edit, changed_fields, coalesce
from fieldsync.outbox import Entry
from fieldsync.store import IssueRecord
from fieldsync.wire import Op, Outcome, parse_object
from fieldsync.workfile import NO_WORK, CarriedAck, CarriedBatch, CarriedEdit, Work

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fieldsync.engine.local import Local
    from fieldsync.engine.report import CarryReport

    Name = tuple[str, str]  # of a row: its collection and its id

DETAIL = "Unsent work was brought in for a row that has other unsent work here."


class Takeover:
    """One file's work on its way into a store. Works inside the caller's transaction."""

    def __init__(self, local: Local, report: CarryReport) -> None:
        self._local = local
        self._store = local.store
        self._outbox = local.outbox
        self._report = report
        self._kept: set[Name] = set()  # rows of batches that wait here as they were frozen
        self._stacks: dict[Name, list[Entry]] = {}  # of other rows: what becomes one edit each

    def take(self, work: Work) -> None:
        """Take all of it. Raises: WorkUnreadable."""
        for ack in work.acked:
            self._take_ack(ack, work.exported_at)
        for batch in work.batches:
            self._take_batch(batch)
        for edit in work.pending:
            self._put_on_stack(_entry(edit))
        for name, stack in self._stacks.items():
            self._take_stack(stack, is_behind_batch=name in self._kept)
        self._take_issues(work)

    def _put_on_stack(self, entry: Entry) -> None:
        self._stacks.setdefault(_name(entry), []).append(entry)

    def _take_ack(self, ack: CarriedAck, exported_at: str) -> None:
        """An ack is no echo: what no pull has shown is sent again, as after a restore."""
        row = self._store.get_row(ack.collection, ack.row_id)
        if row is not None and row.version >= ack.version:
            self._report.known += 1
        else:
            self._put_on_stack(_entry_of_ack(ack, exported_at))

    def _take_batch(self, batch: CarriedBatch) -> None:
        """Keep it as it was frozen, where its rows are free; else its edits count alone.

        It may have been applied. Alone they are answered by what the server sees: that nothing is
        left to change, or that the row was edited since.
        """
        entries = [_entry(edit) for edit in batch.edits]
        if self._outbox.has_batch(batch.key):
            self._report.known += len(entries)
            self._kept.update(map(_name, entries))
        elif not self._can_keep(entries) or all(map(self._is_shown, entries)):
            for entry in entries:
                self._put_on_stack(_as_sent(entry))
        else:
            self._outbox.add_batch(batch.key, batch.body.encode(), entries)
            self._report.sent += len(entries)
            self._kept.update(map(_name, entries))

    def _can_keep(self, entries: Sequence[Entry]) -> bool:
        return not any(self._waiting(entry) or _name(entry) in self._stacks for entry in entries)

    def _take_stack(self, stack: Sequence[Entry], *, is_behind_batch: bool) -> None:
        entry = _fold(stack)
        if entry is None:
            return  # made and deleted again, and never sent
        waiting = self._waiting(entry)
        if is_behind_batch:
            waiting = [here for here in waiting if here.position is None]
        is_known = any(_is_same_or_later(here, entry) for here in waiting)
        if not (waiting or is_behind_batch):
            is_known = self._is_shown(entry)
            entry = self._rebase(entry, stack[-1].base)
        if is_known:
            self._report.known += 1
        elif self._join(entry, waiting):
            self._report.pending += 1
        else:
            self._refuse(entry, waiting)
            self._report.clashes += 1

    def _take_issues(self, work: Work) -> None:
        here = {_identity(issue) for issue in self._store.list_issues()}
        for told in work.issues:
            issue = _issue(told)
            if _identity(issue) in here:
                self._report.known += 1
            else:
                self._store.add_issue(issue)
                self._report.issues += 1

    def _waiting(self, entry: Entry) -> list[Entry]:
        """What waits here for the same row: sent, pending."""
        found = self._outbox.get_sent(*_name(entry)), self._outbox.get_pending(*_name(entry))
        return [here for here in found if here is not None]

    def _is_shown(self, entry: Entry) -> bool:
        """Whether the row, as last pulled, is what the edit makes of it."""
        row = self._store.get_row(*_name(entry))
        if row is None or entry.edit.op is Op.DELETE:
            return False
        return not changed_fields(row.data, entry.edit.data)

    def _rebase(self, entry: Entry, last_base: str | None) -> Entry:
        """On the row as pulled, if that is what the last edit was made on: what is left to do.

        Then the edits before it were applied, whether or not their answer ever came.
        """
        row = self._store.get_row(*_name(entry))
        if row is None or last_base is None or changed_fields(row.data, parse_object(last_base)):
            return entry
        edit = replace(entry.edit, base_version=row.version)
        if edit.op is not Op.DELETE:
            data = changed_fields(row.data, edit.data)
            edit = replace(edit, op=Op.UPDATE, data=data)
        return replace(entry, edit=edit)

    def _join(self, entry: Entry, waiting: Sequence[Entry]) -> bool:
        """Queue the edit, alone or together with a pending one; False when they disagree."""
        if not waiting:
            self._outbox.add(entry)
            return True
        (first, *more) = waiting
        if more or first.position is not None:
            return False  # the answer to what is on its way would move the edit's base unseen
        if _is_same(first, entry):  # this store is older than the file
            self._outbox.replace_edit(first, entry.edit, revision=entry.revision)
            return True
        if not _agree(entry.edit, first.edit):
            return False
        enqueue = self._local.enqueue if first.edit.op is Op.CREATE else self._local.enqueue_first
        enqueue(*_name(entry), entry.edit, base=None)
        return True

    def _refuse(self, entry: Entry, waiting: Sequence[Entry]) -> None:
        row = self._store.get_row(*_name(entry))
        edit = entry.edit
        if edit.op is Op.CREATE:  # the row is here: a second one is not what anybody wants
            edit = replace(edit, op=Op.UPDATE)
        fields = {field for here in waiting for field in here.edit.data} & entry.edit.data.keys()
        self._local.refuse(
            entry,
            edit,
            outcome=Outcome.CONFLICT,
            code=EDITED_HERE_TOO,
            detail=DETAIL,
            fields=sorted(fields),
            version=row.version if row else None,
            theirs=self._local.view(*_name(entry)),
        )


def _fold(stack: Sequence[Entry]) -> Entry | None:
    """One edit that does what all did, oldest first; None when nothing is left of them."""
    edit: Edit | None = stack[0].edit
    for entry in stack[1:]:
        edit = entry.edit if edit is None else coalesce(edit, entry.edit)
    return None if edit is None else replace(stack[-1], edit=edit, base=stack[0].base)


def _as_sent(entry: Entry) -> Entry:
    """A create that may have been applied: to delete it again is not to have done nothing."""
    if entry.edit.op is not Op.CREATE or entry.edit.base_version is not None:
        return entry
    return replace(entry, edit=replace(entry.edit, base_version=1))


def _name(entry: Entry) -> Name:
    return entry.collection, entry.row_id


def _agree(one: Edit, other: Edit) -> bool:
    """Whether both can be made of a row, in any order."""
    if Op.DELETE in {one.op, other.op}:
        return one.op is other.op
    return all(other.data[name] == value for name, value in one.data.items() if name in other.data)


def _is_same(here: Entry, entry: Entry) -> bool:
    """Whether both are the same edit of a row, at whatever revision."""
    return here.created_at == entry.created_at


def _is_same_or_later(here: Entry, entry: Entry) -> bool:
    return _is_same(here, entry) and here.revision >= entry.revision


def _identity(issue: IssueRecord) -> tuple[str, str, str]:
    return issue.collection, issue.row_id, issue.created_at


def _entry_of_ack(ack: CarriedAck, exported_at: str) -> Entry:
    edit = Edit(
        op=ack.op,
        data=ack.data,
        base_version=ack.version if ack.op is Op.CREATE else ack.base_version,
        groups=frozenset(ack.groups),
    )
    return Entry(
        collection=ack.collection,
        row_id=ack.row_id,
        edit=edit,
        base=None,
        created_at=exported_at,
    )


def _entry(carried: CarriedEdit) -> Entry:
    return Entry(
        collection=carried.collection,
        row_id=carried.row_id,
        revision=carried.revision,
        edit=Edit(
            op=carried.op,
            data=carried.data,
            base_version=carried.base_version,
            groups=frozenset(carried.groups),
        ),
        base=carried.base,
        created_at=carried.created_at,
    )


def _issue(told: dict[str, object]) -> IssueRecord:
    try:
        return msgspec.convert(told, IssueRecord)
    except msgspec.ValidationError as error:
        raise WorkUnreadable(NO_WORK) from error
