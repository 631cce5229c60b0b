"""Push and pull as bytes: parse what a device sends, render what it gets. Pure.

    bytes --parse_push--> PushRequest(policy, validate_only, mutations)
    results --render_report--> bytes        changes --render_page--> bytes

`docs/protocol.md` describes the same shapes in words. Payloads of rows are spliced in as they are
stored; they are never parsed on the way out.
"""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import msgspec

from sync.clock import render_time
from sync.errors import BodyMalformed, LimitExceeded
from sync.types import ChangeOp, FieldError, Mutation, Op, Outcome, Policy, Result, Wire

INTEGER_BITS_MAX = 64  # beyond it other JSON parsers lose digits in silence
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
_Version = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]


class _MutationBody(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    op: Op
    collection: _Name
    id: _Name
    base_version: _Version | None = None
    group: _Name | None = None
    data: dict[str, Any] = {}


class _PushBody(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    mutations: list[_MutationBody]
    policy: Policy = Policy.ALL_OR_NOTHING
    validate_only: bool = False


class PushRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A well-formed push; `validate_only` asks for the report and no effects."""

    policy: Policy
    validate_only: bool
    mutations: list[Mutation]


class PulledChange(msgspec.Struct, frozen=True, kw_only=True):
    """One change as the feed holds it; `payload` is the row's JSON, None without an upsert."""

    seq: int
    op: ChangeOp
    collection: str
    id: str
    version: int | None = None
    is_own: bool = False
    payload: str | None = None


_push_decoder = msgspec.json.Decoder(_PushBody)
_encoder = msgspec.json.Encoder()


def parse_push(body: bytes, *, rows_max: int, depth_max: int) -> PushRequest:
    """Return the push that `body` asks for, its mutations numbered as they came.

    Raises:
        BodyMalformed: not JSON, not of the protocol's shape, or with values that no database
            could keep (NUL characters, lone surrogates, integers beyond 64 bits, NaN).
        LimitExceeded: more than `rows_max` mutations.
    """
    try:
        parsed = _push_decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BodyMalformed(_describe(error)) from None
    if len(parsed.mutations) > rows_max:
        raise LimitExceeded("push_rows_max", rows_max)
    for index, mutation in enumerate(parsed.mutations):
        _check_text(mutation.id, f"mutations.{index}.id")
        _check_text(mutation.collection, f"mutations.{index}.collection")
        _check_text(mutation.group, f"mutations.{index}.group")
        _check_value(mutation.data, f"mutations.{index}.data", depth_max)
    mutations = [_mutation(index, given) for index, given in enumerate(parsed.mutations)]
    return PushRequest(
        policy=parsed.policy, validate_only=parsed.validate_only, mutations=mutations
    )


def canonical_id(row_id: str) -> str:
    """Return `row_id` as it is compared: UUIDs in lower case, all else as it is."""
    return row_id.lower() if _UUID.fullmatch(row_id) else row_id


def is_uuid(text: str) -> bool:
    """Whether `text` is a UUID in its 36-character form."""
    return _UUID.fullmatch(text) is not None


def fingerprint(route: str, body: bytes) -> bytes:
    """Return what tells two requests under one key apart: 32 bytes over route and decoded body."""
    return hashlib.sha256(route.encode() + b"\0" + body).digest()


def digest(payload: bytes | None, version: int) -> int:
    """Return a row's checksum: 64 bits, signed, over its version and its JSON as stored."""
    text = b"%d\n%b" % (version, payload or b"")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), signed=True)


def render_payload(row: Wire) -> bytes:
    """Return a row's JSON as it is stored and sent."""
    return _encoder.encode(row)


def splice(payload: bytes, **members: Any) -> bytes:
    """Return a row's JSON with `members` before its own; nothing is parsed."""
    inside = payload[1:-1]
    return _encoder.encode(members)[:-1] + (b"," if inside else b"") + inside + b"}"


def report_status(results: Sequence[Result]) -> str:
    """Return `ok`, `partial` or `rejected`."""
    applied = sum(result.refusal is None for result in results)
    if applied == len(results):
        return "ok"
    return "partial" if applied else "rejected"


def report_members(results: Sequence[Result], now: datetime.datetime) -> Wire:
    """Return the report of a push: one line for every mutation, in their order."""
    return {
        "status": report_status(results),
        "server_time": render_time(now),
        "results": [_render_result(result) for result in results],
    }


def encode(value: Any) -> bytes:
    """Return `value` as JSON."""
    return _encoder.encode(value)


def decode(text: bytes | str) -> Any:
    """Return the value that JSON of our own stands for."""
    return msgspec.json.decode(text)


def render_page(
    changes: Iterable[PulledChange], *, cursor: str, has_more: bool, now: datetime.datetime
) -> bytes:
    """Return one page of a pull."""
    return _encoder.encode(
        {
            "cursor": cursor,
            "has_more": has_more,
            "server_time": render_time(now),
            "changes": [_render_change(change) for change in changes],
        }
    )


def _mutation(index: int, given: _MutationBody) -> Mutation:
    return Mutation(
        index=index,
        op=given.op,
        collection=given.collection,
        id=canonical_id(given.id),
        base_version=given.base_version,
        group=given.group,
        data=given.data if given.op is not Op.DELETE else {},
    )


def _describe(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "The JSON is nested too deeply."
    if isinstance(error, UnicodeDecodeError):
        return "The body is not UTF-8."
    return str(error)


def _check_value(value: Any, path: str, depth_left: int) -> None:
    """Refuse what JSON can say and a database cannot keep."""
    if isinstance(value, str):
        _check_text(value, path)
    elif isinstance(value, dict | list):
        if depth_left == 0:
            raise BodyMalformed(f"{path}: the JSON is nested too deeply.")
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for name, member in items:
            if isinstance(name, str):
                _check_text(name, path)
            _check_value(member, f"{path}.{name}", depth_left - 1)
    elif isinstance(value, int) and value.bit_length() >= INTEGER_BITS_MAX:
        raise BodyMalformed(f"{path}: integers have at most {INTEGER_BITS_MAX} bits.")


def _check_text(text: str | None, path: str) -> None:
    if text is not None and "\0" in text:
        raise BodyMalformed(f"{path}: text must not contain NUL characters.")


def _render_result(result: Result) -> Wire:
    mutation, refusal = result.mutation, result.refusal
    line: Wire = {
        "index": mutation.index,
        "collection": mutation.collection,
        "id": mutation.id,
        "outcome": result.outcome,
    }
    if refusal is not None:
        line |= {"code": refusal.code, "detail": refusal.detail, **refusal.args}
        if refusal.errors:
            line["errors"] = [_render_error(error) for error in refusal.errors]
        if result.outcome is Outcome.CONFLICT:
            line["base_version"] = mutation.base_version
    if result.quarantine_id is not None:
        line |= {
            "outcome": Outcome.QUARANTINED,
            "refused": result.outcome,
            "quarantine_id": result.quarantine_id,
        }
    if result.version is not None:
        line["version"] = result.version
    if result.current is not None:
        line["current"] = result.current
    return line


def _render_error(error: FieldError) -> Wire:
    return {"path": error.path, "code": error.code, "detail": error.detail, "args": error.args}


def _render_change(change: PulledChange) -> Wire:
    line: Wire = {"op": change.op, "collection": change.collection, "id": change.id}
    if change.op is not ChangeOp.SCOPE_EXIT:
        line["version"] = change.version
    if change.payload is not None:
        line |= {"own": change.is_own, "data": msgspec.Raw(change.payload.encode())}
    return line
