"""Push: take the outbox to the server, each mutation to exactly one final outcome.

    outbox -> freeze (key and bytes stored) -> send -> answer -> [ one transaction: each entry
              acked or made an issue, the batch forgotten ]  -> next batch

How much goes into a batch follows the link (`pace`) and the server's limits, which are asked for
when it said 413, and kept.

A crash after any arrow repeats the same key and bytes, or has nothing left to repeat. The steps
that touch the store hold no link, and the one that sends holds no transaction.
"""

from __future__ import annotations

import uuid
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec.structs import replace

from fieldsync.engine.report import QUIET, Meter
from fieldsync.errors import FieldsyncError, ServerBug
from fieldsync.listeners import Cause
from fieldsync.machine import State
from fieldsync.merge import (
    FIRST_VERSION,
    NO_VERSION,
    Edit,
    can_overwrite_unseen,
    choose_batch,
    coalesce,
    local_view,
)
from fieldsync.outbox import Ack
from fieldsync.pace import Pace, bound_pace, next_pace
from fieldsync.store import ServerRow
from fieldsync.transport import Request
from fieldsync.verdict import GONE, TOO_LARGE
from fieldsync.wire import (
    APPLIED,
    Limits,
    Op,
    Outcome,
    Result,
    Unreadable,
    parse_limits,
    parse_object,
    parse_push,
    raw_object,
    render_json,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from fieldsync.engine.local import Local
    from fieldsync.engine.report import SyncReport
    from fieldsync.engine.session import Session
    from fieldsync.engine.settings import Settings
    from fieldsync.outbox import Batch, Entry
    from fieldsync.retry import RetryBudget
    from fieldsync.steps import Steps
    from fieldsync.transport import Answer

PACKED_BYTES_MIN = 1400  # what fits one packet arrives no sooner when packed
PACKED_BYTES_MAX = 4 * 1024 * 1024  # the protocol's limit, unless the server says otherwise
GZIP_LEVEL, GZIP_WBITS = 6, 16 + zlib.MAX_WBITS  # the latter is zlib's way to say gzip
TOO_LARGE_CODE = "body_too_large"
KEPT = "The server keeps it for a supervisor to decide."


class Push:
    """The pushing half of a sync."""

    def __init__(self, local: Local, session: Session, settings: Settings) -> None:
        self._local = local
        self._store = local.store
        self._outbox = local.outbox
        self._session = session
        self._rows_max = settings.push_rows_max
        self._collections = settings.collections
        self._pace = bound_pace(Pace(), rows_max=settings.push_rows_max)

    def run(
        self,
        budget: RetryBudget,
        report: SyncReport,
        *,
        held_groups: Callable[[], Collection[str]],
        meter: Meter = QUIET,
    ) -> Steps[None]:
        """Send until nothing is left but what waits for a group still being filled."""
        before = report.pushed
        total = self._outbox.count_pending() + self._outbox.count_sent()
        meter.note(State.PUSHING, 0, total)
        while (batch := self._next_batch(held_groups())) is not None:
            results = yield from self._send(batch, budget, report)
            if results is None:
                self._shrink(batch, report)
                yield from self._read_limits()
            else:
                self._settle(batch, results, report)
                done = report.pushed - before
                meter.note(State.PUSHING, done, max(total, done))

    def _next_batch(self, held_groups: Collection[str]) -> Batch | None:
        """The frozen batch to send; a new one only when no older one waits for its answer."""
        with self._store.transaction():
            batch = self._outbox.first_batch()
            if batch is not None:
                return batch
            candidates = self._outbox.list_candidates()
            pace = self._bounded()
            chosen = choose_batch(
                candidates,
                rows_max=pace.rows,
                bytes_max=pace.bytes,
                held_groups=held_groups,
            )
            if not chosen:
                return None
            self._outbox.freeze(chosen, key=str(uuid.uuid4()))
            return self._outbox.first_batch()

    def _send(
        self, batch: Batch, budget: RetryBudget, report: SyncReport
    ) -> Steps[list[Result] | None]:
        """The results of `batch`, or None when it is too large."""
        request = self._request(batch)

        def parse(answer: Answer) -> tuple[list[Result] | None, float]:
            if answer.status == TOO_LARGE:
                return None, answer.took_s
            if answer.status == GONE:
                raise ServerBug(code="unexpected_status", status=GONE)
            results = parse_push(answer.body).results
            report.replays += answer.is_replay
            return results, answer.took_s

        retries_before, took_s, results = budget.retries, 0.0, None
        pace, sent_rows = self._bounded(), self._outbox.count_batch(batch)
        try:
            results, took_s = yield from self._session.call(request, parse, budget)
        finally:
            retries = budget.retries - retries_before
            report.batches_sent += 1 + retries
            self._pace = next_pace(
                pace,
                sent_rows=sent_rows,
                sent_bytes=len(batch.body),
                took_s=took_s,
                is_troubled=results is None or retries > 0,
            )
        return results

    def _request(self, batch: Batch) -> Request:
        """The batch as it travels: packed where that pays. What counts are the bytes inside."""
        body, headers = batch.body, {"Idempotency-Key": f'"{batch.key}"'}
        if len(body) >= PACKED_BYTES_MIN:
            packed = zlib.compress(body, GZIP_LEVEL, GZIP_WBITS)
            limits = self._limits()
            most = limits.compressed_body_bytes_max if limits else PACKED_BYTES_MAX
            if len(packed) < min(len(body), most):
                body, headers["Content-Encoding"] = packed, "gzip"
        return Request(method="POST", path="sync/push", body=body, headers=headers)

    # sizes

    def _bounded(self) -> Pace:
        """The pace within what app and server allow."""
        limits = self._limits()
        if limits is None:
            return bound_pace(self._pace, rows_max=self._rows_max)
        return bound_pace(
            self._pace,
            rows_max=min(self._rows_max, limits.push_rows_max),
            bytes_max=limits.body_bytes_max,
        )

    def _limits(self) -> Limits | None:
        """The server's limits, if this device had to ask for them."""
        text = self._store.get_meta("limits")
        return None if text is None else parse_limits(text)

    def _read_limits(self) -> Steps[None]:
        """Ask for the limits after a 413, once. Without them batches are halved all the same."""
        with suppress(FieldsyncError, Unreadable):
            answer = yield from self._session.ask(Request(method="GET", path="sync/limits"))
            limits = parse_limits(answer.body)
            self._store.set_meta(limits=render_json(limits))

    # answers

    def _settle(self, batch: Batch, results: list[Result], report: SyncReport) -> None:
        """Carry out a final answer. Raises: ServerBug when it is not the answer to `batch`."""
        with self._store.transaction(Cause.ACK):
            entries = self._outbox.list_sent(batch)
            if not entries:
                return  # another process on this store has settled it
            by_index = {result.index: result for result in results}
            answers = [(entry, by_index.get(at)) for at, entry in enumerate(entries)]
            for entry, result in answers:
                if result is None or (result.collection, result.id) != _name(entry):
                    raise ServerBug(
                        code="results_mismatch", detail=f"no result for {_name(entry)}"
                    )
                if result.outcome in APPLIED:
                    self._acknowledge(entry, result)
                    report.merged += result.outcome == Outcome.MERGED
                else:
                    self._refuse(entry, result, report)
                report.outcomes[result.outcome] += 1
                report.pushed += 1
            self._outbox.remove_batch(batch)
        report.batches_applied += 1

    def _acknowledge(self, entry: Entry, result: Result) -> None:
        """The server has it. An edit made meanwhile stays, on the version that this made."""
        edit = entry.edit
        version = result.version or (edit.base_version or 0) + 1
        current = raw_object(result.current)
        basis = _basis(entry, result, version, has_current=current is not None)
        seen = self._store.get_row(*_name(entry))
        pending = self._outbox.get_pending(*_name(entry))
        self._outbox.remove(entry)
        if self._is_synced(entry) and not _is_seen(edit.op, result, version, seen):
            ack = Ack(
                collection=entry.collection,
                row_id=entry.row_id,
                edit=edit,
                version=version,
                basis=basis,
            )
            self._outbox.add_ack(ack, generation=self._store.generation)
        if current is not None and result.outcome == Outcome.MERGED:
            row = ServerRow(
                collection=entry.collection, row_id=entry.row_id, version=version, text=current
            )
            self._store.advance_row(row)
        if pending is not None:
            if current is not None and _would_overwrite(entry, current, pending.edit):
                basis = edit.base_version
            rebased = replace(pending.edit, base_version=basis)
            self._outbox.replace_edit(pending, rebased, revision=pending.revision)

    def _is_synced(self, entry: Entry) -> bool:
        """Whether a pull will show it: what an app only sends is done with its ack."""
        return not self._collections or entry.collection in self._collections

    def _refuse(self, entry: Entry, result: Result, report: SyncReport) -> None:
        """The mutation leaves the queue for the issues; what waits behind it goes on."""
        edit: Edit | None = entry.edit
        pending = self._outbox.get_pending(*_name(entry))
        self._outbox.remove(entry)
        if pending is not None and entry.edit.op is Op.CREATE:
            edit = self._take_along(entry.edit, pending)
        if edit is None:
            return  # created and deleted again: nothing is left that could be lost
        current = raw_object(result.current)
        self._local.refuse(
            entry,
            edit,
            outcome=result.outcome,
            code=result.code,
            detail=_words(result),
            fields=result.fields,
            version=result.version,
            theirs=None if current is None else parse_object(current),
            errors=result.errors,
            blocked_by=result.blocked_by,
        )
        report.issues += 1
        report.conflicts += result.outcome == Outcome.CONFLICT

    def _take_along(self, refused: Edit, pending: Entry) -> Edit | None:
        """The refused create with the later edit in it, which has no chance without its row.

        A later edit of a group goes on: only the server can refuse all of the group. A delete of
        a row that is there all the same, made by others, is what is asked about. A create behind a
        create is an issue that somebody retried: it is older, and stands for itself.
        """
        if pending.edit.op is Op.CREATE:
            return refused
        joined = coalesce(refused, pending.edit)
        on_nothing = replace(pending.edit, base_version=NO_VERSION)
        if joined is None and self._store.get_row(*_name(pending)) is not None:
            joined = on_nothing
        if joined is not None and pending.edit.groups:
            self._outbox.replace_edit(pending, on_nothing, revision=pending.revision)
            return refused
        self._outbox.remove(pending)
        return joined

    def _shrink(self, batch: Batch, report: SyncReport) -> None:
        """Halve a batch that is too large; what cannot be parted becomes issues."""
        with self._store.transaction():
            entries = self._outbox.list_sent(batch)
            if not entries or self._outbox.split(batch, keys=(_new_key(), _new_key())):
                return
            for index, entry in enumerate(entries):
                result = Result(
                    index=index,
                    collection=entry.collection,
                    id=entry.row_id,
                    outcome=Outcome.INVALID,
                    code=TOO_LARGE_CODE,
                    detail="The row, or the group it must travel with, is too large to send.",
                )
                self._refuse(entry, result, report)
                report.outcomes[result.outcome] += 1
                report.pushed += 1
            self._outbox.remove_batch(batch)
        report.batches_applied += 1


def _new_key() -> str:
    return str(uuid.uuid4())


def _name(entry: Entry) -> tuple[str, str]:
    return entry.collection, entry.row_id


def _basis(entry: Entry, result: Result, version: int, *, has_current: bool) -> int | None:
    """The version that edits after this ack may claim to know: never one they have not seen.

    A merge shows the others' fields in `current`. An `unchanged` row may hold edits of others
    that this device has not pulled. What it created, maybe in a life that it has forgotten, was
    the first version, whatever became of it.
    """
    match result.outcome:
        case Outcome.MERGED if not has_current:
            return entry.edit.base_version
        case Outcome.UNCHANGED:
            known = entry.edit.base_version
            return FIRST_VERSION if known is None else known
        case _:
            return version


def _is_seen(op: Op, result: Result, version: int, seen: ServerRow | None) -> bool:
    """Whether no later pull will show this ack, since an earlier one did."""
    if seen is not None:
        return seen.version >= version
    return op is Op.DELETE and result.outcome == Outcome.UNCHANGED


def _would_overwrite(entry: Entry, current: str, pending: Edit) -> bool:
    base = {} if entry.base is None else parse_object(entry.base)
    expected = local_view(base, [entry.edit]) or {}
    return can_overwrite_unseen(expected=expected, current=parse_object(current), pending=pending)


def _words(result: Result) -> str:
    """Why it was refused, also where the server gave no sentence, and whether it is kept."""
    fields = f" ({', '.join(result.fields)})" if result.fields else ""
    why = result.detail or f"The server answered {result.code or result.outcome}{fields}."
    return f"{why} {KEPT}" if result.outcome == Outcome.QUARANTINED else why
