"""The rules of push bodies once more, the slow and obvious way: what the fast parser must agree with."""

from __future__ import annotations

import json
import math
from typing import Any

ROWS_MAX, DEPTH_MAX = 5, 4  # small, so that generated bodies reach them
NAME_CHARS_MAX, VERSION_MAX = 64, 2**53 - 1
MUTATION_MEMBERS = {"op", "collection", "id", "base_version", "group", "data"}
PUSH_MEMBERS = {"mutations", "policy", "validate_only"}
ROW_HEADS = {
    "create": ["id"],
    "update": ["id", "base_version"],
    "delete": ["id", "base_version"],
}

Mutation = tuple[Any, ...]  # op, id, base_version, group, data


class Refused(Exception):
    """The body is not to be taken."""


class TooManyRows(Refused):
    """It has more rows than the limit."""


def need(condition: object) -> None:
    """Refuse unless `condition` holds."""
    if not condition:
        raise Refused


def load(body: bytes) -> Any:
    """Return the value of a body: JSON that every parser reads alike, and a database can keep."""

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        need(len(dict(pairs)) == len(pairs))
        return dict(pairs)

    def constant(_: str) -> None:
        raise Refused

    try:
        value = json.loads(body.decode(), object_pairs_hook=members, parse_constant=constant)
    except (ValueError, RecursionError):
        raise Refused from None
    check(value)
    return value


def check(value: Any) -> None:
    """Refuse what cannot be kept, at any depth."""
    if isinstance(value, dict):
        for name, member in value.items():
            check(name)
            check(member)
    elif isinstance(value, list):
        for item in value:
            check(item)
    elif isinstance(value, str):
        need("\0" not in value)
        need(not any("\ud800" <= char <= "\udfff" for char in value))
    elif isinstance(value, float):
        need(math.isfinite(value))
    elif isinstance(value, int):
        need(-(2**63) <= value < 2**63)


def depth(value: Any) -> int:
    """Return the levels of objects and lists in `value`."""
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


def check_name(value: Any) -> None:
    """Refuse what is no id, collection or group."""
    need(isinstance(value, str) and 0 < len(value) <= NAME_CHARS_MAX)


def check_version(value: Any) -> None:
    """Refuse what is neither a version nor null."""
    need(value is None or (type(value) is int and 0 <= value <= VERSION_MAX))


def slow_push(body: bytes) -> tuple[str, bool, list[Mutation]]:
    """Return policy, validate_only and mutations. Raises: Refused."""
    value = load(body)
    need(isinstance(value, dict) and value.keys() <= PUSH_MEMBERS)
    need(value.get("policy", "per_row") in ("per_row", "all_or_nothing"))
    need(isinstance(value.get("validate_only", False), bool))
    need(isinstance(value.get("mutations"), list))
    mutations = [slow_mutation(given) for given in value["mutations"]]
    if len(mutations) > ROWS_MAX:
        raise TooManyRows
    return value.get("policy", "all_or_nothing"), value.get("validate_only", False), mutations


def slow_mutation(given: Any) -> Mutation:
    """Return the parts of one mutation. Raises: Refused."""
    need(isinstance(given, dict) and given.keys() <= MUTATION_MEMBERS)
    need({"op", "collection", "id"} <= given.keys())
    need(given["op"] in ("create", "update", "delete"))
    check_name(given["collection"])
    check_name(given["id"])
    check_version(given.get("base_version"))
    if given.get("group") is not None:
        check_name(given["group"])
    need(isinstance(given.get("data", {}), dict))
    need(depth(given.get("data", {})) <= DEPTH_MAX)
    data = {} if given["op"] == "delete" else given.get("data", {})
    return given["op"], given["id"], given.get("base_version"), given.get("group"), data


def slow_rows(body: bytes, op: str) -> list[Mutation]:
    """Return the mutations that a list of rows stands for. Raises: Refused."""
    rows = load(body)
    need(isinstance(rows, list))
    need(all(isinstance(row, dict) for row in rows))
    if len(rows) > ROWS_MAX:
        raise TooManyRows
    return [slow_row(row, op) for row in rows]


def slow_row(row: dict[str, Any], op: str) -> Mutation:
    """Return the parts of one row's mutation. Raises: Refused."""
    need(depth(row) <= DEPTH_MAX)
    head = {name: row.pop(name, None) for name in ROW_HEADS[op]}
    check_name(head["id"])
    check_version(head.get("base_version"))
    need(op != "delete" or not row)
    return op, head["id"], head.get("base_version"), None, row
