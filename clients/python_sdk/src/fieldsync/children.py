"""Children: lists of objects with ids, which are edited with the row that they hang in. Pure.

    was   [{"id": 1, …}, {"id": 2, …}]          what an edit began with
    now   [{"id": 1, …}, {"text": "new"}]       what the person left
    sent  [{"id": 1, …}, {"id": 3, "text": "new"}, {"id": 2, "deleted": true}]

What is sent means the same to a server that replaces the list and to one that merges it by id: the
children that there are to be, whole, and a removal of each that is not to be any more. Source: the
protocol, "Push".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

REMOVED: Final = "deleted"
_MISSING: Final = object()


def is_removal(item: object) -> bool:
    """Whether `item` removes a child, and is none."""
    return isinstance(item, dict) and item.keys() == {"id", REMOVED} and item[REMOVED] is True


def without_removals(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """`data` as it will be seen: lists have children only."""
    lists = {
        name: [item for item in value if not is_removal(item)]
        for name, value in data.items()
        if isinstance(value, list) and any(map(is_removal, value))
    }
    return {**data, **lists} if lists else data


def keep_removals(earlier: Mapping[str, Any], later: Mapping[str, Any]) -> Mapping[str, Any]:
    """`later`, with those removals of `earlier` that it says nothing about."""
    kept = {
        name: removals
        for name, value in earlier.items()
        if isinstance(value, list) and isinstance(later.get(name), list)
        if (removals := [item for item in value if is_removal(item)])
    }
    lists = {
        name: [*later[name], *(item for item in removals if item["id"] not in _ids(later[name]))]
        for name, removals in kept.items()
    }
    return {**later, **lists} if lists else later


def holds(now: Any, seen: Any) -> bool:
    """Whether `now` still says what `seen` does, and maybe more: a server fills in and sorts."""
    if isinstance(now, dict) and isinstance(seen, dict):
        return all(name in now and holds(now[name], value) for name, value in seen.items())
    if isinstance(now, list) and isinstance(seen, list) and len(now) == len(seen):
        by_id = {item["id"]: item for item in now if isinstance(item, dict) and "id" in item}
        pairs = zip(now, seen, strict=True)
        return all(
            holds(by_id.get(before["id"]) if _ids([before]) else after, before)
            for after, before in pairs
        )
    return bool(now == seen)


def list_changes(
    was: Mapping[str, Any],
    now: Mapping[str, Any],
    new_id: Callable[[], str],
    *,
    is_declared: bool = False,
) -> dict[str, Any]:
    """The fields of `now` that differ from `was`, as they are to be sent.

    New children get their ids in `now` itself, so that whoever made them learns of these; if the
    app has declared them (`is_declared`), only those that have a place for it.
    """
    changes = {}
    for name, value in now.items():
        before = was.get(name, _MISSING)
        if value != before:
            is_list = isinstance(value, list)
            if is_list:
                give_ids(value, before, new_id, is_declared=is_declared)
            changes[name] = [*value, *_removals(before, value)] if is_list else value
    return changes


def give_ids(now: list[Any], was: object, new_id: Callable[[], str], *, is_declared: bool) -> None:
    """Give new children their ids. Objects of a list that had some without are no children."""
    objects = [item for item in was if isinstance(item, dict)] if isinstance(was, list) else []
    if not all(item.get("id") for item in objects):
        return
    for item in now:
        is_new = isinstance(item, dict) and not item.get("id")
        if is_new and ("id" in item or not is_declared):
            item["id"] = new_id()


def _removals(was: object, now: list[Any]) -> list[dict[str, Any]]:
    left = _ids(now)
    before = _ids(was) if isinstance(was, list) else []
    return [{"id": gone, REMOVED: True} for gone in before if gone not in left]


def _ids(items: list[Any]) -> list[Any]:
    return [item["id"] for item in items if isinstance(item, dict) and "id" in item]
