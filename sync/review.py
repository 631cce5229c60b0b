"""Review: what a supervisor does with the mutations in quarantine.

    apply    one transaction [ take -> carry out as the reviewer, signed by who did it -> settle
             -> log ]; refused again: nothing happens, it stays open
    discard  one transaction [ take -> settle ]

The row is judged with the role and scopes of the reviewer, who decides; its author stays the one
who did the work. Without a base version the edit wins over whatever the row has become.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
from msgspec.structs import replace

from sync import batch, quarantine, storage, transactions, validation, wire
from sync.clock import render_time
from sync.conf import sync_settings
from sync.errors import BodyMalformed, ParameterInvalid, QuarantineRefused, ReviewForbidden
from sync.push_body import parse_push
from sync.refusals import refuse
from sync.registry import get_collection
from sync.row_security import for_actor
from sync.types import Actor, Mutation, Op, ParkedState, Policy, Result, Wire

if TYPE_CHECKING:
    import datetime
    from uuid import UUID

    from sync.models import ParkedMutation

REASON_CHARS_MAX = 500


class Edit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a reviewer changes before applying; what is None stays as it was sent.

    `data` replaces the data sent as a whole. `base_version` alone has another meaning when it is
    None: that the edit is made on the row as it is now.
    """

    op: Op | None = None
    id: str | None = None
    base_version: int | None = None
    data: dict[str, Any] | None = None


class _Discard(msgspec.Struct, forbid_unknown_fields=True):
    reason: Annotated[str, msgspec.Meta(max_length=REASON_CHARS_MAX)] = ""


T = TypeVar("T")


def parse_edit(body: bytes) -> Edit:
    """Return the edit that `body` is; its values are judged when it is applied.

    Raises:
        BodyMalformed: it is none.
    """
    return _decode(body, Edit)


def parse_reason(body: bytes) -> str:
    """Return the reason that `body` gives for discarding.

    Raises:
        BodyMalformed: it has another shape, or a text that no database could keep.
    """
    reason = _decode(body, _Discard).reason
    if "\0" in reason:
        raise BodyMalformed("reason: text must not contain NUL characters.")
    return reason


@for_actor
def read_page(
    reviewer: Actor, *, state: str | None, after: UUID | None, limit: int | None
) -> Wire:
    """Return parked mutations that `reviewer` may see, oldest first; open ones unless told else.

    Raises:
        ReviewForbidden: the actor is no reviewer.
        ParameterInvalid: there is no such state, or the limit is out of bounds.
    """
    _check_reviewer(reviewer)
    if state is not None and state not in list(ParkedState):
        raise ParameterInvalid("state", f"must be one of {', '.join(ParkedState)}")
    limits = sync_settings()
    rows_max = limits.quarantine_page_rows_max
    if limit is not None and not 1 <= limit <= rows_max:
        raise ParameterInvalid("limit", f"must be from 1 to {rows_max}")
    page = quarantine.read_page(
        reviewer,
        ParkedState(state or ParkedState.OPEN),
        after=after,
        rows_max=limit or rows_max,
        bytes_max=limits.body_bytes_max,
    )
    return {"parked": [render(parked) for parked in page.parked], "has_more": page.has_more}


@for_actor
def read(reviewer: Actor, parked_id: UUID) -> Wire:
    """Return one parked mutation.

    Raises:
        ReviewForbidden, QuarantineMissing: not for this actor.
    """
    _check_reviewer(reviewer)
    return render(quarantine.find(reviewer, parked_id))


@for_actor
def apply(reviewer: Actor, parked_id: UUID, edit: Edit, now: datetime.datetime) -> Wire:
    """Carry a parked mutation out, as edited; return its line of a report.

    Raises:
        ReviewForbidden, QuarantineMissing: not for this actor.
        QuarantineSettled: somebody was first.
        QuarantineRefused: it cannot be applied so; it stays open.
        BodyMalformed: the edit has values that no database could keep.
        Unavailable: the database gave up; whether it is settled says a look at it.
    """
    _check_reviewer(reviewer)
    return transactions.run(lambda _: _apply(reviewer, parked_id, edit, now))


@for_actor
def discard(reviewer: Actor, parked_id: UUID, reason: str, now: datetime.datetime) -> Wire:
    """Settle a parked mutation without any effect; return it.

    Raises:
        ReviewForbidden, QuarantineMissing, QuarantineSettled, Unavailable: as `apply`.
    """
    _check_reviewer(reviewer)
    return transactions.run(lambda _: _discard(reviewer, parked_id, reason, now))


def render(parked: ParkedMutation) -> Wire:
    """Return a parked mutation as it goes on the wire."""
    settled_at = render_time(parked.settled_at) if parked.settled_at else None
    return {
        "id": parked.pk,
        "state": parked.state,
        "created_at": render_time(parked.created_at),
        "device_id": parked.device_id,
        "user_id": parked.user_id,
        "key": parked.key,
        "mutation": _as_sent(parked),
        "refused": parked.outcome,
        "code": parked.code,
        "detail": parked.detail,
        "errors": parked.errors,
        "args": parked.args,
        "settled_at": settled_at,
        "settled_by": parked.settled_by,
        "reason": parked.reason,
        "edit": parked.edit,
    }


def _as_sent(parked: ParkedMutation) -> Wire:
    sent = {"op": parked.op, "collection": parked.collection, "id": parked.row_id}
    base = {} if parked.base_version is None else {"base_version": parked.base_version}
    group = {"group": parked.group} if parked.group else {}
    return {**sent, **base, **group, "data": parked.data}


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BodyMalformed(str(error)) from None


def _check_reviewer(actor: Actor) -> None:
    if not (actor.may_review or actor.is_system):
        raise ReviewForbidden


def _apply(reviewer: Actor, parked_id: UUID, edit: Edit, now: datetime.datetime) -> Wire:
    parked = quarantine.take(reviewer, parked_id)
    mutation = _on_row_as_it_is(_mutation(parked, edit), reviewer)
    # No device: the one that sent it must not take the change for an echo of its own.
    signer = dataclasses.replace(reviewer, user_id=parked.user_id, device_id=None)
    _check_as_sent_by_a_device(signer, mutation, now)
    carried = batch.carry_out(signer, Policy.ALL_OR_NOTHING, [mutation], now)
    line = _accepted(carried.results[0], now)
    changed = {
        name: value for name, value in msgspec.structs.asdict(edit).items() if value is not None
    }
    quarantine.settle(
        parked, ParkedState.APPLIED, by=reviewer.user_id, now=now, edit=changed or None
    )
    batch.log(signer, carried, now)
    return line


def _discard(reviewer: Actor, parked_id: UUID, reason: str, now: datetime.datetime) -> Wire:
    parked = quarantine.take(reviewer, parked_id)
    quarantine.settle(parked, ParkedState.DISCARDED, by=reviewer.user_id, now=now, reason=reason)
    return render(parked)


def _mutation(parked: ParkedMutation, edit: Edit) -> Mutation:
    """Return what is to be carried out, judged by the parser of pushes as if it came in one."""
    push = {
        "mutations": [
            {
                "op": edit.op or parked.op,
                "collection": parked.collection,
                "id": parked.row_id if edit.id is None else edit.id,
                "base_version": edit.base_version,
                "data": parked.data if edit.data is None else edit.data,
            }
        ]
    }
    depth_max = sync_settings().json_depth_max
    try:
        request = parse_push(wire.encode(push), rows_max=1, depth_max=depth_max)
    except BodyMalformed as error:
        where = str(error).replace("mutations.0.", "").replace(".mutations[0]", "")
        raise BodyMalformed(where) from None
    return request.mutations[0]


def _on_row_as_it_is(mutation: Mutation, reviewer: Actor) -> Mutation:
    """Base an edit that names no version on the row's present one, locking the row."""
    collection = get_collection(mutation.collection)
    is_based = mutation.op is Op.CREATE or mutation.base_version is not None
    if is_based or collection is None or not wire.is_uuid(mutation.id):
        return mutation
    row = storage.lock(collection, reviewer.tenant_id, [mutation.id]).get(mutation.id)
    return replace(mutation, base_version=row.version if row else None)


def _check_as_sent_by_a_device(signer: Actor, mutation: Mutation, now: datetime.datetime) -> None:
    """Refuse fields that only the server gives: the office may set them, a device never."""
    if signer.is_system:
        device = dataclasses.replace(signer, is_system=False)
        _, refused = validation.judge([mutation], device)
        if refused:
            _accepted(refuse(mutation, refused[mutation.index]), now)


def _accepted(result: Result, now: datetime.datetime) -> Wire:
    """Return the result as a line of a report.

    Raises:
        QuarantineRefused: it was refused.
    """
    (line,) = wire.report_members([result], now)["results"]
    if result.refusal is not None:
        raise QuarantineRefused(result, line)
    return dict(line)
