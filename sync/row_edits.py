"""Row edits: one row written by somebody who waits for it, such as an office page.

    mutation -> one transaction [ claim, if there is a key -> carry out -> keep -> log ] -> answer

The same engine as a push: scopes, roles, validation, conflicts, feed. It differs in three points.
A refusal is an error, and keeps nothing; the version that an edit names is the row's, or else the
edit is refused, also where a push would merge the two; a key is optional.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from msgspec.structs import replace

from sync import batch, receipts, transactions, visible
from sync.receipts import Answer
from sync.refusals import ID_TAKEN
from sync.registry import ranked_collections
from sync.row_errors import PreconditionFailed, RowRefused
from sync.row_security import for_actor
from sync.signals import tell_push_answered
from sync.types import Actor, Mutation, Op, Outcome, Policy, Result
from sync.wire import render_payload, splice

if TYPE_CHECKING:
    import datetime

OK, CREATED, NO_CONTENT = 200, 201, 204
REFUSED = {  # 409 what is not here
    Outcome.INVALID: 400,
    Outcome.DEPENDENCY_FAILED: 400,  # it names a row that is not there
    Outcome.FORBIDDEN: 403,
    Outcome.NOT_FOUND: 404,
    Outcome.GONE: 404,
}


@for_actor
def edit_row(
    actor: Actor,
    mutation: Mutation,
    *,
    must_be_new: bool = False,
    key: str | None,
    fingerprint: bytes,
    now: datetime.datetime,
) -> Answer:
    """Carry one mutation out; return the row as it is then, or nothing for one that is deleted.

    An update or delete without a `base_version` is of whatever version there is. A create of a row
    that is there already, and the same, changes nothing, unless it `must_be_new`.

    Raises:
        RowRefused: the engine refused it; nothing was written, and the key is free.
        PreconditionFailed: the row is of another version than `base_version`, or is no new one.
        KeyReused, RequestInFlight: see `receipts.claim`.
        Unavailable: the database gave up; with a key, the same request again finds the truth.
    """

    def work(with_care: bool) -> Answer:  # noqa: FBT001  # as `transactions.run` calls it
        known = None if key is None else receipts.claim(actor, key, fingerprint, now)
        if known is not None:
            return known
        based = _with_base(actor, mutation)
        carried = batch.carry_out(actor, Policy.PER_ROW, [based], now, with_care=with_care)
        (result,) = carried.results
        if must_be_new:
            _check_new(result)
        _check(mutation, result, carried)
        answer = _answer(actor, result, carried)
        if key is not None:
            receipts.keep(actor, key, answer)
        batch.log(actor, carried, now)
        return dataclasses.replace(answer, results=carried.results)

    answer = transactions.run(work)
    tell_push_answered(actor, answer)
    return answer


def _with_base(actor: Actor, mutation: Mutation) -> Mutation:
    if mutation.op is Op.CREATE or mutation.base_version is not None:
        return mutation
    found = visible.find_row(actor, ranked_collections()[mutation.collection], mutation.id)
    return mutation if found is None else replace(mutation, base_version=found.version)


def _check_new(result: Result) -> None:
    is_taken = result.refusal is not None and result.refusal.code == ID_TAKEN.code
    if is_taken or result.outcome is Outcome.UNCHANGED:
        raise PreconditionFailed(result.version)


def _check(mutation: Mutation, result: Result, carried: batch.Carried) -> None:
    """Refuse what is refused, and what was made on another version than the row's.

    Raises:
        RowRefused, PreconditionFailed: as `edit_row`.
    """
    wanted = mutation.base_version
    if result.outcome is Outcome.CONFLICT and wanted not in {None, result.version}:
        raise PreconditionFailed(result.version)
    if result.refusal is not None:
        raise RowRefused(result, REFUSED.get(result.outcome, RowRefused.status))
    if mutation.op is Op.UPDATE and wanted not in {None, _version_before(result, carried)}:
        raise PreconditionFailed(_version_before(result, carried))


def _version_before(result: Result, carried: batch.Carried) -> int | None:
    (write,) = carried.writes or (None,)
    return result.version if write is None or write.before is None else write.before.version


def _answer(actor: Actor, result: Result, carried: batch.Carried) -> Answer:
    key, version = result.mutation.key, result.version
    if result.mutation.op is Op.DELETE:
        return Answer(status=NO_CONTENT, body=b"")
    (write,) = carried.writes or (None,)
    if write is None or write.after is None:  # it was so before
        found = visible.find_row(actor, ranked_collections()[key.collection], key.id)
        payload = found.payload.encode() if found else b"{}"
    else:
        payload = write.payload or render_payload(write.after.data)
    status = CREATED if result.outcome is Outcome.CREATED else OK
    return Answer(status=status, body=splice(payload, id=key.id, version=version))
