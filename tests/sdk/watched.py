"""Watched server: a server in memory of which every change, author and answer is noted.

    request -> fault -> FakeServer -> what has changed since -> Change, Change, ...

The changes are the tenant's history in its one order: a checker replays them. One fault comes on
top of those that are shipped: a request that arrives much later.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx2

from fieldsync.testing import FakeServer, Row, State, problem

Name = tuple[str, str]
OFFICE = "office"
TOO_LARGE = 413


@dataclass(frozen=True, slots=True)
class Late:
    """Nobody answers; the request arrives when the phone has long given it up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One new version of one row. `old` and `new` are its fields, none where there is no row."""

    name: Name
    version: int
    before: int  # the version that it follows; 0 for a new row
    old: dict[str, Any]
    new: dict[str, Any]
    is_delete: bool
    user: str
    key: str  # of the push; empty for what was done in the office


def canon(value: object) -> str:
    """`value` as text that can be compared and kept in a set."""
    return json.dumps(value, sort_keys=True)


class WatchedServer(FakeServer):
    """A server whose history is written down as it happens."""

    def __init__(self) -> None:
        super().__init__()
        self.changes: list[Change] = []
        self.statuses: Counter[int] = Counter()
        self.too_large: set[str] = set()  # keys that were ever answered 413
        self.sent: list[
            tuple[int, str, str, dict[str, Any]]
        ] = []  # (changes so far, device, key, mutation)
        self.late: list[httpx2.Request] = []
        self.after_push: Callable[[], None] = lambda: None
        self.forget_history()

    def forget_history(self) -> None:
        """Begin a new history with the rows as they are."""
        self.applied.clear()
        self.changes.clear()
        self.sent.clear()
        self.known: dict[Name, Row] = dict(self.state.rows)
        self.first = {
            (name, field, canon(value))
            for name, row in self.known.items()
            for field, value in row.data.items()
        }

    # the network

    def handle(self, request: httpx2.Request) -> httpx2.Response:
        """One request, through faults."""
        fault: object = self.faults[0] if self.faults else None
        if isinstance(fault, Late):
            self.faults.popleft()
            self.late.append(request)
            raise httpx2.ReadTimeout("slow", request=request)
        return super().handle(request)

    def deliver_late(self) -> None:
        """What was given up arrives now; nobody hears the answers."""
        late, self.late = self.late, []
        sent = list(self.sent)
        for request in late:
            with suppress(httpx2.HTTPError):
                super().handle(request)
        self.sent = sent  # long ago, that is

    def _route(self, request: httpx2.Request, path: str, body: bytes) -> httpx2.Response:
        response = super()._route(request, path, body)
        self.statuses[response.status_code] += 1
        return response

    def _push(self, device: str, user: str, key: str, body: bytes) -> httpx2.Response:
        before = len(self.changes)
        self.sent += [(before, device, key, each) for each in json.loads(body)["mutations"]]
        response = super()._push(device, user, key, body)
        if response.status_code == TOO_LARGE:
            self.too_large.add(key)
        self.after_push()
        return response

    def decide(
        self, device: str, user: str, key: str, mutations: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """Carry out a push, and note what it changed."""
        results = super().decide(device, user, key, mutations)
        self.note(user, key)
        return results

    def _refuse(self, params: Mapping[str, str]) -> httpx2.Response | None:
        """An old cursor is of another epoch before it is anything else."""
        if "cursor" in params and self._read(params["cursor"])[0] != self.epoch:
            return problem(410, "epoch_changed")
        return super()._refuse(params)

    # what operators and dispatchers do

    def show(self, username: str, collection: str, row_id: str) -> None:
        """The row comes (back) into the scopes of this user."""
        hidden = self.hidden.pop((self.users[username], collection, row_id), None)
        if hidden is not None and (collection, row_id) in self.state.feed:
            self._move_head()
            self.state.feed[collection, row_id] = self.state.head

    def restore(self, backup: State) -> None:
        """Go back to a backup. What left somebody's scopes has still left them."""
        super().restore(backup)
        for name in self.hidden:
            self.state.head += 1
            self.hidden[name] = self.state.head
        self.forget_history()

    # the notes

    def note(self, user: str, key: str = "") -> None:
        """Note what has changed since the last look, as the work of `user`."""
        for name, row in self.state.rows.items():
            before = self.known.get(name)
            if before is row:
                continue
            change = Change(
                name=name,
                version=row.version,
                before=before.version if before else 0,
                old=before.data if before else {},
                new=row.data,
                is_delete=row.is_deleted,
                user=user,
                key=key,
            )
            self.changes.append(change)
            self.known[name] = row

    def reached(self) -> set[str]:
        """Every value that any row ever had, in this history."""
        return {value for _, _, value in self.first} | {
            canon(value) for change in self.changes for value in change.new.values()
        }

    def visible(self, username: str, collection: str) -> dict[str, Row]:
        """The live rows of a collection that this user sees."""
        user = self.users[username]
        return {
            row_id: row
            for (kind, row_id), row in self.state.rows.items()
            if kind == collection
            and not row.is_deleted
            and (user, kind, row_id) not in self.hidden
        }
