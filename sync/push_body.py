"""Push bodies, as values: exact about what they take, and fast. Pure.

    {"policy": …, "mutations": […]}  --parse_push-->  PushRequest(policy, validate_only, mutations)
    [{"id": …, …}, …]                --parse_rows-->  the same
    {…}                              --parse_fields-> the fields of one row

A body that is taken means the same to every parser and fits in the database. The decoder sees to
the syntax and the shape; what is left (NUL, long integers, depth, names that stand twice) shows in
one flat loop over the values and a few searches of the bytes. Only a body that is refused, or
nearly, is read once more (`json_faults`). `docs/protocol.md` describes the shapes in words.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType  # for a member that is not there; one that is null counts

from sync.errors import BodyMalformed, LimitExceeded
from sync.json_faults import (
    INTEGER_MAX,
    INTEGER_MIN,
    NUL,
    TOO_DEEP,
    TOO_LONG,
    describe,
    describe_shape,
    explain,
    has_nul,
    refuse_twins,
)
from sync.types import Mutation, Op, Policy, Wire
from sync.wire import canonical_id

_PUSH_LEVELS, _ROWS_LEVELS = 3, 1  # of nesting around a row's fields
_ROW_MEMBERS = {  # what of a row is not one of its fields
    Op.CREATE: ("id",),
    Op.UPDATE: ("id", "base_version"),
    Op.DELETE: ("id", "base_version"),
}

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
_Version = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
_T = TypeVar("_T")


class _MutationBody(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    op: Op
    collection: _Name
    id: _Name
    base_version: _Version | UnsetType | None = UNSET
    group: _Name | UnsetType | None = UNSET
    data: Wire | UnsetType = UNSET


class _PushBody(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    mutations: list[_MutationBody]
    policy: Policy | UnsetType = UNSET
    validate_only: bool | UnsetType = UNSET


class _RowHead(msgspec.Struct, gc=False):
    id: _Name
    base_version: _Version | None = None


class PushRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A well-formed push; `validate_only` asks for the report and no effects."""

    policy: Policy
    validate_only: bool
    mutations: list[Mutation]


class _Fault(Exception):
    """A value that cannot be kept, before it is known where it stands."""


_push_decoder = msgspec.json.Decoder(_PushBody)
_rows_decoder = msgspec.json.Decoder(list[Wire])
_fields_decoder = msgspec.json.Decoder(Wire)


def parse_push(body: bytes, *, rows_max: int, depth_max: int) -> PushRequest:
    """Return the push that `body` asks for, its mutations numbered as they came.

    `depth_max` is how many levels of nesting the data of a row may have.

    Raises:
        BodyMalformed: not JSON, not of the protocol's shape, a name that stands twice in one
            object, or values that no database could keep (NUL characters, lone surrogates,
            integers beyond 64 bits, floats beyond theirs, NaN).
        LimitExceeded: more than `rows_max` mutations.
    """
    parsed = _decode(_push_decoder, body, depth_max + _PUSH_LEVELS)
    _check_rows(parsed.mutations, rows_max)
    _refuse_faults(body, lambda: _count_push(parsed, depth_max), depth_max + _PUSH_LEVELS)
    return PushRequest(
        policy=Policy.ALL_OR_NOTHING if parsed.policy is UNSET else parsed.policy,
        validate_only=parsed.validate_only is True,
        mutations=[_mutation(index, given) for index, given in enumerate(parsed.mutations)],
    )


def parse_rows(  # noqa: PLR0913  # what the address says, and the limits
    body: bytes,
    *,
    op: Op,
    collection: str,
    policy: Policy = Policy.ALL_OR_NOTHING,
    validate_only: bool = False,
    rows_max: int,
    depth_max: int,
) -> PushRequest:
    """Return the push that a plain list of `collection`'s rows stands for.

    A row is `{"id", …fields}` for a create, `{"id", "base_version", …fields}` for an update and
    `{"id", "base_version"}` for a delete.

    Raises:
        BodyMalformed, LimitExceeded: as `parse_push`.
    """
    rows = _decode(_rows_decoder, body, depth_max + _ROWS_LEVELS)
    _check_rows(rows, rows_max)
    _refuse_faults(body, lambda: _count_rows(rows, depth_max), depth_max + _ROWS_LEVELS)
    return PushRequest(
        policy=policy,
        validate_only=validate_only,
        mutations=[_row_mutation(index, row, op, collection) for index, row in enumerate(rows)],
    )


def parse_fields(body: bytes, *, depth_max: int) -> Wire:
    """Return the fields of one row that `body` says: an object, exact as those of a push are.

    Raises:
        BodyMalformed: as `parse_push`.
    """
    fields = _decode(_fields_decoder, body, depth_max)
    _refuse_faults(
        body, lambda: len(fields) + _count_texts(fields.values(), depth_max - 1), depth_max
    )
    return fields


def _decode(decoder: msgspec.json.Decoder[_T], body: bytes, depth_max: int) -> _T:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BodyMalformed(describe(body, error, depth_max)) from None


def _check_rows(rows: list[Any], rows_max: int) -> None:
    if len(rows) > rows_max:
        raise LimitExceeded("push_rows_max", rows_max)


def _count_push(parsed: _PushBody, depth_max: int) -> int:
    """Return how many texts, names of members among them, the body has. Raises: _Fault."""
    texts = 1 + 2 * (parsed.policy is not UNSET) + (parsed.validate_only is not UNSET)
    for given in parsed.mutations:
        texts += 6 + (given.base_version is not UNSET)  # op, collection and id have a text each
        if given.group is not UNSET:
            texts += 2 if given.group else 1
        if given.data is not UNSET:
            texts += 1 + len(given.data) + _count_texts(given.data.values(), depth_max - 1)
    return texts


def _count_rows(rows: list[Wire], depth_max: int) -> int:
    """Return how many texts the rows have. Raises: _Fault."""
    return sum(len(row) + _count_texts(row.values(), depth_max - 1) for row in rows)


def _count_texts(values: Collection[Any], depth_left: int) -> int:
    """Return how many texts are among `values` and in what they hold. Raises: _Fault."""
    texts = len(values)
    for value in values:
        kind = type(value)
        if kind is str:  # most are
            continue
        texts -= 1
        if kind is int:
            if not INTEGER_MIN <= value <= INTEGER_MAX:
                raise _Fault(TOO_LONG)
        elif kind is dict or kind is list:
            if depth_left == 0:
                raise _Fault(TOO_DEEP)
            parts = value if kind is list else value.values()
            texts += (kind is dict and len(value)) + _count_texts(parts, depth_left - 1)
    return texts


def _refuse_faults(body: bytes, count: Callable[[], int], depth_max: int) -> None:
    """Refuse what has decoded, to as many texts as `count` says, and yet is not to be taken.

    Raises:
        BodyMalformed: it cannot be kept, or does not mean the same to every parser.
    """
    try:
        texts = count()
    except _Fault as fault:
        raise BodyMalformed(explain(body, depth_max, f"Somewhere: {fault}")) from None
    if has_nul(body):
        raise BodyMalformed(explain(body, depth_max, f"Somewhere: {NUL}"))
    # Two members of one name decode to one: then a name is missing among the texts, and the
    # body's quotes are more than theirs.
    if _count_quotes(body) != 2 * texts:
        refuse_twins(body, depth_max)


def _count_quotes(body: bytes) -> int:
    """Return how many quotes begin or end a text; too many when that is not easily told."""
    quotes = body.count(b'"')
    if b"\\" in body and b'\\\\"' not in body:  # else the backslash itself may be escaped
        quotes -= body.count(b'\\"')
    return quotes


def _mutation(index: int, given: _MutationBody) -> Mutation:
    return Mutation(
        index=index,
        op=given.op,
        collection=given.collection,
        id=canonical_id(given.id),
        base_version=None if given.base_version is UNSET else given.base_version,
        group=None if given.group is UNSET else given.group,
        data={} if given.data is UNSET or given.op is Op.DELETE else given.data,
    )


def _row_mutation(index: int, row: Wire, op: Op, collection: str) -> Mutation:
    given = {name: row.pop(name) for name in _ROW_MEMBERS[op] if name in row}
    try:
        head = msgspec.convert(given, _RowHead)
    except msgspec.ValidationError as error:
        raise BodyMalformed(describe_shape(error, str(index))) from None
    if op is Op.DELETE and row:
        detail = f"{index}.{next(iter(row))}: a row to be deleted has an id and a base_version."
        raise BodyMalformed(detail)
    return Mutation(
        index=index,
        op=op,
        collection=collection,
        id=canonical_id(head.id),
        base_version=head.base_version,
        data=row,
    )
