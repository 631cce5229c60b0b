"""Rows: what a small server holds, and what becomes of a push. No HTTP.

It shares no code with the SDK: a misunderstanding there must not be one here.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

MERGING = frozenset({"work_orders", "notes"})
PARENTS = {"notes": ("work_order", "work_orders")}
APPLIED = frozenset({"created", "updated", "deleted", "merged", "unchanged"})


@dataclass
class Row:
    """A row with the version that last changed each field."""

    version: int
    data: dict[str, Any]
    field_versions: dict[str, int]
    is_deleted: bool = False
    device: str = ""


@dataclass
class State:
    """All that a backup holds."""

    rows: dict[tuple[str, str], Row] = field(default_factory=dict)
    feed: dict[tuple[str, str], int] = field(default_factory=dict)  # row -> newest seq
    head: int = 0
    requests: dict[tuple[str, str], tuple[bytes, int, bytes]] = field(default_factory=dict)
    number: int = 0


class Rows:
    """The rows of one tenant, and the feed of their changes.

    `merging` collections merge edits of different fields; all others reject an edit on an old
    base. `parents` says of a child collection which field names its parent, and in which
    collection that is. `judge` may be replaced: it is given each pushed mutation as on the wire,
    and returns the refusal that it gets (see `refusal`), or None.
    """

    def __init__(self) -> None:
        self.merging: Collection[str] = MERGING
        self.parents: Mapping[str, tuple[str, str]] = PARENTS
        self.judge: Callable[[dict[str, Any]], dict[str, Any] | None] = _refuse_what_is_bad
        self.state: State = State()
        self.changed: threading.Condition = threading.Condition()  # told when the head moves
        self.hidden: dict[tuple[str, str, str], int] = {}  # (user, collection, id) -> exit's seq
        self.applied: list[tuple[str, str, str, str]] = []  # (device, key, op, id)

    def decide(
        self, device: str, user: str, key: str, mutations: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """Carry out a push; the results, in the order of the mutations."""
        units: dict[str, list[int]] = {}
        for at, mutation in enumerate(mutations):
            units.setdefault(mutation.get("group", f"#{at}"), []).append(at)
        results: dict[int, dict[str, Any]] = {}
        parents_first = sorted(
            units.values(),
            key=lambda unit: all(mutations[at]["collection"] in self.parents for at in unit),
        )
        for unit in parents_first:
            backup = (dict(self.state.rows), dict(self.state.feed), self.state.head)
            unit.sort(key=lambda at: mutations[at]["collection"] in self.parents)
            for at in unit:
                results[at] = self._apply(mutations[at], device, user)
            refused = [at for at in unit if results[at]["outcome"] not in APPLIED]
            if refused:
                self.state.rows, self.state.feed, self.state.head = backup
                for at in set(unit) - set(refused):
                    results[at] = {
                        "outcome": "not_applied",
                        "code": "group_failed",
                        "blocked_by": self._blocker(mutations, refused[0]),
                    }
            else:
                for at in unit:
                    if results[at]["outcome"] != "unchanged":
                        self.applied.append(
                            (device, key, mutations[at]["op"], mutations[at]["id"])
                        )
        return [
            {"index": at, "collection": mutation["collection"], "id": mutation["id"]} | results[at]
            for at, mutation in enumerate(mutations)
        ]

    @staticmethod
    def _blocker(mutations: list[dict[str, Any]], at: int) -> dict[str, Any]:
        return {"collection": mutations[at]["collection"], "id": mutations[at]["id"], "index": at}

    def _apply(self, mutation: dict[str, Any], device: str, user: str) -> dict[str, Any]:
        name = (mutation["collection"], mutation["id"])
        row = self.state.rows.get(name)
        if (refused := self.judge(mutation)) is not None:
            return refused
        if (user, *name) in self.hidden:
            return {"outcome": "not_found", "code": "row_not_found", "detail": "No such row."}
        match mutation["op"]:
            case "create":
                return self._create(name, row, mutation["data"], device)
            case "update":
                return self._update(name, row, mutation, device)
            case _:
                return self._delete(name, row, mutation, device)

    def _create(
        self, name: tuple[str, str], row: Row | None, data: dict[str, Any], device: str
    ) -> dict[str, Any]:
        if row is not None and row.is_deleted:
            return {"outcome": "gone", "code": "row_deleted"}
        if row is not None:
            differing = sorted(k for k, v in data.items() if row.data.get(k) != v)
            if not differing:
                return {"outcome": "unchanged", "version": row.version}
            return conflict(row, differing, None)
        if name[0] in self.parents:
            field_name, parent_collection = self.parents[name[0]]
            parent = (parent_collection, data.get(field_name, ""))
            if parent not in self.state.rows:
                blocked_by = {"collection": parent[0], "id": parent[1], "index": None}
                return {"outcome": "dependency_failed", "code": "x", "blocked_by": blocked_by}
        self.state.number += 1
        row = Row(1, data | {"number": f"WO-{self.state.number}"}, dict.fromkeys(data, 1))
        self._log(name, row, device)
        return {"outcome": "created", "version": 1}

    def _update(
        self, name: tuple[str, str], row: Row | None, mutation: dict[str, Any], device: str
    ) -> dict[str, Any]:
        if row is None or row.is_deleted:
            return {"outcome": "gone" if row else "not_found", "code": "row_deleted"}
        base = mutation["base_version"]
        told = {k: without_removed(v) for k, v in mutation["data"].items()}
        edit = {k: v for k, v in told.items() if row.data.get(k) != v}
        if not edit:
            return {"outcome": "unchanged", "version": row.version}
        moved = {k for k, version in row.field_versions.items() if version > base}
        overlap = sorted(moved & edit.keys())
        if base > row.version or overlap or (moved and name[0] not in self.merging):
            return conflict(row, overlap, base)
        version = row.version + 1
        row = Row(
            version,
            row.data | edit,
            row.field_versions | dict.fromkeys(edit, version),
            device=device,
        )
        self._log(name, row, device)
        if moved:
            return {"outcome": "merged", "version": version, "current": row.data}
        return {"outcome": "updated", "version": version}

    def _delete(
        self, name: tuple[str, str], row: Row | None, mutation: dict[str, Any], device: str
    ) -> dict[str, Any]:
        if row is None:
            return {"outcome": "not_found", "code": "row_not_found"}
        if row.is_deleted:
            return {"outcome": "unchanged", "version": row.version}
        if row.version != mutation["base_version"]:
            return conflict(row, [], mutation["base_version"])
        self._log(name, Row(row.version + 1, {}, {}, is_deleted=True), device)
        return {"outcome": "deleted", "version": row.version + 1}

    def _log(self, name: tuple[str, str], row: Row, device: str) -> None:
        row.device = device
        self.state.rows[name] = row
        self._move_head()
        self.state.feed[name] = self.state.head

    def _move_head(self) -> None:
        """Something has happened: the next seq, and whoever listens hears of it."""
        with self.changed:
            self.state.head += 1
            self.changed.notify_all()

    # the feed

    def list_entries(self, user: str, after: int) -> list[tuple[int, Any]]:
        """(seq, name) of what happened since, as this user sees it, in order."""
        seen = [
            (seq, name)
            for name, seq in self.state.feed.items()
            if (user, *name) not in self.hidden
        ]
        exits = [(seq, name) for (owner, *name), seq in self.hidden.items() if owner == user]
        return sorted(entry for entry in [*seen, *exits] if entry[0] > after)

    def tell(self, name: Any, device: str, user: str) -> dict[str, Any]:
        """The change that a pull says of a row."""
        collection, row_id = name
        change = {"collection": collection, "id": row_id}
        if (user, collection, row_id) in self.hidden:
            return change | {"op": "scope_exit"}
        row = self.state.rows[collection, row_id]
        if row.is_deleted:
            return change | {"op": "delete", "version": row.version}
        own = row.device == device
        return change | {"op": "upsert", "version": row.version, "own": own, "data": row.data}

    def live(self, collection: str) -> dict[str, dict[str, Any]]:
        """The rows of a collection that exist."""
        return {
            row_id: row.data
            for (kind, row_id), row in self.state.rows.items()
            if kind == collection and not row.is_deleted
        }

    # what happens in the office

    def create(self, collection: str, row_id: str, **fields: Any) -> None:
        """Somebody else makes a row. Raises: ValueError: the id is taken, or it has no parent."""
        name = (collection, row_id)
        result = self._create(name, self.state.rows.get(name), fields, "office")
        if result["outcome"] != "created":
            raise ValueError(f"{collection} {row_id} cannot be made: {result}")

    def edit(self, collection: str, row_id: str, **fields: Any) -> None:
        """Somebody else edits a row."""
        base = self.state.rows[collection, row_id].version
        mutation = {"base_version": base, "data": fields}
        self._update((collection, row_id), self.state.rows[collection, row_id], mutation, "office")

    def delete(self, collection: str, row_id: str) -> None:
        """Somebody else deletes a row."""
        row = self.state.rows[collection, row_id]
        self._delete((collection, row_id), row, {"base_version": row.version}, "office")


def refusal(
    outcome: str, code: str, *, path: str | None = None, detail: str = ""
) -> dict[str, Any]:
    """A refusal of a mutation; with a `path`, one of the field there."""
    said = {"outcome": outcome, "code": code, "detail": detail}
    if path is None:
        return said
    return said | {"errors": [{"path": path, "code": code, "detail": detail, "args": {}}]}


def _refuse_what_is_bad(mutation: dict[str, Any]) -> dict[str, Any] | None:
    """Any field that is "BAD" is not valid."""
    data = mutation.get("data", {})
    bad = next((name for name, value in data.items() if value == "BAD"), None)
    return (
        None if bad is None else refusal("invalid", "validation_failed", path=bad, detail="Bad.")
    )


def without_removed(value: Any) -> Any:
    """A list of children, which is replaced, without those that are to be removed."""
    if not isinstance(value, list):
        return value
    return [item for item in value if not (isinstance(item, dict) and item.get("deleted") is True)]


def conflict(row: Row, fields: list[str], base: int | None) -> dict[str, Any]:
    """A conflict that shows the row as it is."""
    return {
        "outcome": "conflict",
        "code": "version_mismatch",
        "base_version": base,
        "version": row.version,
        "fields": fields,
        "current": row.data,
    }
