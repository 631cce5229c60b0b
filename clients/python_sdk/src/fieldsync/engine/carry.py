"""Carry: unsent work, from one store to another of the same user.

    export   [ one transaction: read ] -> sign -> file        the work stays here as well
    import   file -> is it signed, and whose? -> [ one transaction, each part of it:
             known here             -> nothing
             alone on its row       -> queued; a batch as it was frozen, with its key and bytes
             among other work here  -> joined to it, or an issue if they disagree ]

Whatever of it was sent meanwhile does no harm, since rows keep their ids, edits their base versions
and batches their keys: the server answers from its receipts, `unchanged`, or with a conflict.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from fieldsync.engine.issues import EDITED_HERE_TOO
from fieldsync.errors import AuthRequired, WorkOfAnother, WorkUnreadable
from fieldsync.merge import Edit, changed_fields, coalesce
from fieldsync.outbox import Entry
from fieldsync.store import IssueRecord
from fieldsync.wire import Op, Outcome
from fieldsync.workfile import (
    FILE_BYTES_MAX,
    NO_WORK,
    SALT_BYTES,
    CarriedAck,
    CarriedBatch,
    CarriedEdit,
    Work,
    seal,
    unseal,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from fieldsync.engine.local import Local
    from fieldsync.outbox import Ack

    Name = tuple[str, str]  # of a row: its collection and its id

DETAIL = "Unsent work was brought in for a row that has other unsent work here."


@dataclass(slots=True, kw_only=True)
class CarryReport:
    """What was carried: into a file, or out of it. Counts are mutations, but for `issues`."""

    sent: int = 0  # in batches that keep their key and bytes
    pending: int = 0  # edits that are in no batch; imported, also what was acked and not seen
    acked_unseen: int = 0  # in a file only
    issues: int = 0
    clashes: int = 0  # imported as an issue, since the row has other unsent work here
    known: int = 0  # here before, or shown by the server: left out


class Carry:
    """The unsent work of one store as a file, and back."""

    def __init__(self, local: Local, *, now: Callable[[], datetime]) -> None:
        self._local = local
        self._store = local.store
        self._outbox = local.outbox
        self._now = now

    # out

    def export(self, path: Path, passphrase: str) -> CarryReport:
        """Write a file that only its owner can read. Raises: AuthRequired, ValueError, OSError."""
        with self._store.transaction():
            work = self._gather()
        _write(path, seal(work, passphrase, salt=secrets.token_bytes(SALT_BYTES)))
        return CarryReport(
            sent=sum(len(batch.edits) for batch in work.batches),
            pending=len(work.pending),
            acked_unseen=len(work.acked),
            issues=len(work.issues),
        )

    def _gather(self) -> Work:
        user, tenant = self._owner()
        return Work(
            user=user,
            username=self._store.get_meta("username") or user,
            tenant=tenant,
            tenant_slug=self._store.get_meta("tenant") or tenant,
            device=self._store.get_meta("device") or "",
            exported_at=self._now().isoformat(),
            batches=[
                CarriedBatch(
                    key=batch.key,
                    body=batch.body.decode(),
                    edits=[_carried(entry) for entry in self._outbox.list_sent(batch)],
                )
                for batch in self._outbox.list_batches()
            ],
            pending=[_carried(entry) for entry in self._outbox.list_pending()],
            acked=[_carried_ack(ack) for ack in self._outbox.list_unseen_acks()],
            issues=[asdict(issue) for issue in self._store.list_issues()],
        )

    def _owner(self) -> tuple[str, str]:
        """The ids of the user and the tenant. Raises: AuthRequired when there was no login."""
        user, tenant = self._store.get_meta("user_id"), self._store.get_meta("tenant_id")
        if user is None or tenant is None:
            raise AuthRequired(
                code="not_logged_in",
                detail="log in first: work belongs to a user, and this store to nobody yet",
            )
        return user, tenant

    # in

    def take(self, path: Path, passphrase: str) -> CarryReport:
        """Take over the work of a file: all of it or nothing.

        Raises: WorkUnreadable, WorkOfAnother, UpgradeRequired, AuthRequired, OSError.
        """
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
        if len(content) > FILE_BYTES_MAX:
            raise WorkUnreadable("it is too large")
        work, signature = unseal(content, passphrase)
        report = CarryReport()
        with self._store.transaction():
            if (work.user, work.tenant) != self._owner():
                raise WorkOfAnother(owner=work.username, tenant=work.tenant_slug)
            # A second time would bring back the issues that were settled since.
            mark = f"imported {signature}"
            if self._store.get_meta(mark) is not None:
                report.known = _count(work)
                return report
            self._store.set_meta(**{mark: self._now().isoformat()})
            self._take_all(work, report)
        return report

    def _take_all(self, work: Work, report: CarryReport) -> None:
        """The parts of `work`. What it has of one row and no kept batch covers is one edit here."""
        stacks: dict[Name, list[Entry]] = {}
        for ack in work.acked:
            if self._is_acked_here(ack):
                report.known += 1
            else:
                entry = _entry_of_ack(ack, work.exported_at)
                stacks.setdefault(_name(entry), []).append(entry)
        kept: set[Name] = set()
        for batch in work.batches:
            entries = [_entry(edit) for edit in batch.edits]
            if self._keep_batch(batch, entries, stacks, report):
                kept.update(map(_name, entries))
            else:
                for entry in entries:
                    stacks.setdefault(_name(entry), []).append(_as_sent(entry))
        for edit in work.pending:
            entry = _entry(edit)
            stacks.setdefault(_name(entry), []).append(entry)
        for name, stack in stacks.items():
            self._take_stack(stack, report, is_behind_batch=name in kept)
        self._take_issues(work, report)

    def _keep_batch(
        self,
        batch: CarriedBatch,
        entries: Sequence[Entry],
        stacks: Mapping[Name, object],
        report: CarryReport,
    ) -> bool:
        """Whether the batch waits here now as it was frozen: where its rows are free.

        Elsewhere its edits are taken alone. It may have been applied: then they are answered by
        what the server sees, that nothing is left to change, or that the row was edited since.
        """
        if self._outbox.has_batch(batch.key):
            report.known += len(entries)
            return True
        if any(self._waiting(entry) or _name(entry) in stacks for entry in entries):
            return False
        if all(map(self._is_shown, entries)):
            return False  # and so nothing is left of it
        self._outbox.add_batch(batch.key, batch.body.encode(), entries)
        report.sent += len(entries)
        return True

    def _take_stack(
        self, stack: Sequence[Entry], report: CarryReport, *, is_behind_batch: bool
    ) -> None:
        entry = _fold(stack)
        if entry is None:
            return  # made and deleted again, and never sent
        waiting = self._waiting(entry)
        if is_behind_batch:
            waiting = [here for here in waiting if here.position is None]
        if any(_is_same_or_later(here, entry) for here in waiting):
            report.known += 1
        elif not (waiting or is_behind_batch) and self._is_shown(entry):
            report.known += 1
        elif self._join(entry, waiting):
            report.pending += 1
        else:
            self._refuse(entry, waiting)
            report.clashes += 1

    def _is_acked_here(self, ack: CarriedAck) -> bool:
        """Whether a pull has shown it. An ack is no echo: else it is sent again, as after a restore."""
        row = self._store.get_row(ack.collection, ack.row_id)
        return row is not None and row.version >= ack.version

    def _take_issues(self, work: Work, report: CarryReport) -> None:
        here = {_identity(issue) for issue in self._store.list_issues()}
        for told in work.issues:
            issue = _issue(told)
            if _identity(issue) in here:
                report.known += 1
            else:
                self._store.add_issue(issue)
                report.issues += 1

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


def _count(work: Work) -> int:
    batched = sum(len(batch.edits) for batch in work.batches)
    return batched + len(work.pending) + len(work.acked) + len(work.issues)


def _carried(entry: Entry) -> CarriedEdit:
    edit = entry.edit
    return CarriedEdit(
        collection=entry.collection,
        row_id=entry.row_id,
        revision=entry.revision,
        op=edit.op,
        data=dict(edit.data),
        base_version=edit.base_version,
        base=entry.base,
        groups=sorted(edit.groups),
        created_at=entry.created_at,
    )


def _carried_ack(ack: Ack) -> CarriedAck:
    return CarriedAck(
        collection=ack.collection,
        row_id=ack.row_id,
        op=ack.edit.op,
        data=dict(ack.edit.data),
        base_version=ack.edit.base_version,
        groups=sorted(ack.edit.groups),
        version=ack.version,
    )


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


def _write(path: Path, content: bytes) -> None:
    """The whole file or none of it, readable by its owner only."""
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
