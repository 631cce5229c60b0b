"""Wire: the JSON of protocol v1, as typed values. Pure: no socket, no file, no clock.

    Mutation  -- render_push -->  bytes            bytes  -- parse_* -->  PushReport, PullPage,
                                                                          Limits, Problem, Login …

Reads tolerantly: unknown fields are ignored, unknown outcomes, operations and codes are kept as
text, so that an old app goes on working with a newer server. Row data is kept as the raw JSON
received. Writes strictly.
"""

from __future__ import annotations

import math
import re
import uuid
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

API_PATH = "/api/v1/"
INTEGER_MIN, INTEGER_MAX = -(2**63), 2**63 - 1  # beyond, other JSON parsers lose digits in silence
JSON_DEPTH_MAX = 16  # levels of objects and lists in a row's data
NAME_LENGTH_MAX = 64  # of ids, collections and groups, in characters
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
T = TypeVar("T")


class Op(StrEnum):
    """What a mutation does to its row."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


class Outcome(StrEnum):
    """The outcomes the SDK knows by name. Results carry text: a server may know more."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"
    MERGED = "merged"
    UNCHANGED = "unchanged"
    CONFLICT = "conflict"
    GONE = "gone"
    INVALID = "invalid"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    DEPENDENCY_FAILED = "dependency_failed"
    NOT_APPLIED = "not_applied"
    QUARANTINED = "quarantined"


APPLIED = frozenset(
    {Outcome.CREATED, Outcome.UPDATED, Outcome.DELETED, Outcome.MERGED, Outcome.UNCHANGED}
)
NEEDS_A_PERSON = frozenset({Outcome.CONFLICT, Outcome.GONE})


class Mutation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One mutation as it travels. `data` holds only the changed fields of an update."""

    op: Op
    collection: str
    id: str
    base_version: int | None = None
    data: dict[str, Any] | None = None
    group: str | None = None


class PushBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a push."""

    policy: str
    mutations: list[Mutation]


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one mutation. `current` is the raw JSON of the row, or empty."""

    index: int
    collection: str
    id: str
    outcome: str
    version: int | None = None
    base_version: int | None = None
    code: str | None = None
    detail: str | None = None
    fields: list[str] = []
    current: msgspec.Raw = msgspec.Raw()
    errors: list[dict[str, Any]] = []
    blocked_by: dict[str, Any] | None = None


class PushReport(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a push, also when it came as a problem document."""

    results: list[Result]


class Change(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One change of a pull. `data` is the raw JSON of the row, or empty."""

    op: str
    collection: str
    id: str
    version: int | None = None
    own: bool = False
    data: msgspec.Raw = msgspec.Raw()


class PullPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of the feed; `cursor` is where the next one starts."""

    cursor: str
    has_more: bool
    changes: list[Change]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the server takes at most, as far as a push must know."""

    push_rows_max: int
    body_bytes_max: int
    compressed_body_bytes_max: int


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A problem document (RFC 9457). `results` is there when it is the report of a push."""

    code: str = ""
    title: str = ""
    detail: str = ""
    request_id: str = ""
    results: list[Result] | None = None


class TokenPair(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a refresh."""

    access: str
    refresh: str


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """The device that the server registered."""

    id: str | int


class User(msgspec.Struct, frozen=True, kw_only=True):
    """The user who logged in."""

    id: str | int
    role: str | None = None


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """The organisation of the user."""

    id: str | int
    slug: str = ""


class Login(TokenPair, frozen=True, kw_only=True):
    """The answer to a login."""

    device: Device
    user: User
    tenant: Tenant


class Unreadable(ValueError):
    """Bytes that are not the JSON asked for: truncated, or written by somebody else."""


_PUSH_BODY = msgspec.json.Decoder(PushBody)
_PUSH = msgspec.json.Decoder(PushReport)
_PULL = msgspec.json.Decoder(PullPage)
_LIMITS = msgspec.json.Decoder(Limits)
_PROBLEM = msgspec.json.Decoder(Problem)
_PAIR = msgspec.json.Decoder(TokenPair)
_LOGIN = msgspec.json.Decoder(Login)


def render_push(mutations: list[Mutation]) -> bytes:
    """The body of a `per_row` push of `mutations`, in their order."""
    return msgspec.json.encode(PushBody(policy="per_row", mutations=mutations))


def parse_push_body(body: bytes) -> PushBody:
    """What `render_push` made."""
    return decode(_PUSH_BODY, body)


def parse_push(body: bytes) -> PushReport:
    """The report in a push's answer. Raises: Unreadable when it is none."""
    return decode(_PUSH, body)


def parse_pull(body: bytes) -> PullPage:
    """The page in a pull's answer. Raises: Unreadable when it is none."""
    return decode(_PULL, body)


def parse_limits(body: bytes | str) -> Limits:
    """The server's limits. Raises: Unreadable when it is none."""
    return decode(_LIMITS, body)


def parse_problem(body: bytes) -> Problem:
    """The problem document in `body`. Raises: Unreadable when it is no JSON object."""
    return decode(_PROBLEM, body)


def parse_tokens(body: bytes) -> TokenPair:
    """The new pair in a refresh's answer. Raises: Unreadable when it is none."""
    return decode(_PAIR, body)


def parse_login(body: bytes) -> Login:
    """The answer to a login. Raises: Unreadable when it is none."""
    return decode(_LOGIN, body)


def decode(decoder: msgspec.json.Decoder[T], body: bytes | str) -> T:
    """What `body` says. Raises: Unreadable when it is not what `decoder` is for."""
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(str(error)) from error


def render_json(value: object) -> str:
    """`value` as JSON text; dates, UUIDs and decimals take their wire form.

    Raises: TypeError, ValueError for what JSON cannot say.
    """
    return msgspec.json.encode(value).decode()


def normalize(data: Mapping[str, Any]) -> dict[str, Any]:
    """`data` as it comes back from the store and the wire: tuples are lists, dates are text.

    Raises: TypeError, ValueError for what JSON cannot say, or the server would answer 400 to.
    """
    try:
        # Looked at before it is JSON, which would make a null of NaN without a word.
        plain = msgspec.to_builtins(data, str_keys=True)
        reason = None if isinstance(plain, dict) else "data that is no object"
        reason = reason or find_unsendable(plain)
    except RecursionError:
        reason = "a value that contains itself, or nearly"
    if reason is not None:
        raise ValueError(reason)
    return parse_object(render_json(plain))


def find_unsendable(value: object, depth_left: int = JSON_DEPTH_MAX) -> str | None:
    """Why the server would refuse a body with `value`, or None. Source: its parser's limits."""
    match value:
        case str():
            return _find_unsendable_text(value)
        case int() if not INTEGER_MIN <= value <= INTEGER_MAX:
            return "an integer of more than 64 bits"
        case float() if not math.isfinite(value):
            return f"{value} is no number of JSON"
        case dict() | list() | tuple() if depth_left == 0:
            return f"more than {JSON_DEPTH_MAX} levels of objects and lists"
        case dict():
            parts = [*value.keys(), *value.values()]
        case list() | tuple():
            parts = list(value)
        case _:
            return None
    reasons = (find_unsendable(part, depth_left - 1) for part in parts)
    return next((reason for reason in reasons if reason is not None), None)


def _find_unsendable_text(text: str) -> str | None:
    if "\0" in text:
        return "text with a NUL character"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "text with half of a surrogate pair"
    return None


def find_unsendable_name(name: str) -> str | None:
    """Why an id, a collection or a group cannot be called so, or None."""
    if not 0 < len(name) <= NAME_LENGTH_MAX:
        return f"a name that is not of 1 to {NAME_LENGTH_MAX} characters"
    return _find_unsendable_text(name)


def canonical_id(row_id: str) -> str:
    """`row_id` as the server compares it: UUIDs in lower case, all else as it is."""
    return row_id.lower() if _UUID.fullmatch(row_id) else row_id


def parse_object(text: str | bytes) -> dict[str, Any]:
    """The JSON object in `text`, which the SDK has written or checked before."""
    return msgspec.json.decode(text, type=dict[str, Any])


def raw_object(raw: msgspec.Raw) -> str | None:
    """The text of a raw JSON object; None when it is missing, null or no object.

    Raises: Unreadable when it is no UTF-8, which nobody has looked at before.
    """
    try:
        text = str(raw, "utf-8")
    except UnicodeDecodeError as error:
        raise Unreadable(str(error)) from error
    return text if text[:1] == "{" else None


def new_row_id(*, now_ms: int, random_bytes: bytes) -> str:
    """A UUIDv7: sorts by the time it was made. `random_bytes` are 10. Source: RFC 9562, 5.7."""
    value = (now_ms & (2**48 - 1)) << 80 | int.from_bytes(random_bytes)
    value = value & ~(0xF << 76) | 0x7 << 76  # version
    value = value & ~(0x3 << 62) | 0x2 << 62  # variant
    return str(uuid.UUID(int=value))
