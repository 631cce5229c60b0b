"""A small server of the protocol in memory, with faults at its edge.

    faults.append(Fault.LOST_ANSWER)       the next request meets it
    hidden, restore, prune                 what operators and dispatchers do

It keeps a log of everything it ever applied, so that a test can say "nothing twice, nothing lost".
It shares no code with the SDK: its JSON is read and written by the standard library.
"""

from __future__ import annotations

import copy
import json
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import httpx2

if TYPE_CHECKING:
    from collections.abc import Callable

HTML = "<html><body>Welcome to the station's Wi-Fi</body></html>"
MERGING = frozenset({"work_orders", "notes"})  # other collections reject edits on an old base
PARENTS = {"notes": ("work_order", "work_orders")}


class Fault(StrEnum):
    """What can happen to one request."""

    CUT_BEFORE = "cut_before"  # never reaches the server
    LOST_ANSWER = "lost_answer"  # done, but nobody hears of it
    TRUNCATED = "truncated"  # done; the answer is cut
    DOUBLED = "doubled"  # the network delivers it twice
    HTML = "html"  # a captive portal answers 200
    GATEWAY = "gateway"  # a proxy's own 502
    BUSY = "busy"  # 503 + Retry-After
    LIMITED = "limited"  # 429 + Retry-After
    IN_FLIGHT = "in_flight"  # 409: the first try still runs
    EXPIRED = "expired"  # the access token has run out


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


class ReferenceServer:
    """The server; `handle` is the whole network."""

    def __init__(self) -> None:
        self.state = State()
        self.epoch = 1
        self.floor = 0
        self.users = {"tess": "user-1", "tom": "user-2"}
        self.hidden: dict[tuple[str, str, str], int] = {}  # (user, collection, id) -> exit's seq
        self.rows_max = 1000
        self.bytes_max = 10**9
        self.faults: deque[Fault | None] = deque()  # None: that request goes well
        self.seen: list[tuple[str, str, bytes, dict[str, str]]] = []
        self.applied: list[tuple[str, str, str, str]] = []  # (device, key, op, id)
        self.before_answer: Callable[[str], None] = lambda path: None
        self.gone_code: str | None = None  # answers the next pull with this 410
        self.refuses_refresh = False
        self._access: dict[str, tuple[str, str]] = {}
        self._refresh: dict[str, tuple[str, str, str]] = {}
        self._serial = 0

    def client(self) -> httpx2.Client:
        """Connections to this server."""
        return httpx2.Client(transport=httpx2.MockTransport(self.handle))

    # the edge

    def handle(self, request: httpx2.Request) -> httpx2.Response:
        """One request through the network, with its fault."""
        path = request.url.path.removeprefix("/api/v1/")
        body = request.content
        self.seen.append((request.method, path, body, dict(request.headers)))
        fault = self.faults.popleft() if self.faults and path != "sync/events" else None
        if (early := self._early(fault)) is not None:
            return early
        if fault is Fault.CUT_BEFORE:
            raise httpx2.ConnectError("unreachable", request=request)
        if fault is Fault.EXPIRED:
            self._access.clear()
        if fault is Fault.DOUBLED:
            self._route(request, path, body)
        response = self._route(request, path, body)
        self.before_answer(path)
        if fault is Fault.LOST_ANSWER:
            raise httpx2.ReadError("connection reset", request=request)
        if fault is Fault.TRUNCATED:
            return httpx2.Response(
                response.status_code,
                headers={"content-type": response.headers["content-type"]},
                content=response.content[: len(response.content) * 4 // 5],
            )
        return response

    @staticmethod
    def _early(fault: Fault | None) -> httpx2.Response | None:
        match fault:
            case Fault.HTML:
                return httpx2.Response(200, html=HTML)
            case Fault.GATEWAY:
                return httpx2.Response(502, html=HTML)
            case Fault.BUSY:
                return problem(503, "busy", headers={"Retry-After": "2"})
            case Fault.LIMITED:
                return problem(429, "throttled", headers={"Retry-After": "7"})
            case Fault.IN_FLIGHT:
                return problem(409, "request_in_flight", headers={"Retry-After": "1"})
            case _:
                return None

    def _route(self, request: httpx2.Request, path: str, body: bytes) -> httpx2.Response:
        if path == "auth/token":
            return self._login(json.loads(body))
        if path == "auth/refresh":
            return self._renew(json.loads(body)["refresh"])
        access = request.headers.get("authorization", "").removeprefix("Bearer ")
        if access not in self._access:
            return problem(401, "token_expired")
        user, device = self._access[access]
        if path == "sync/push":
            key = request.headers["idempotency-key"].strip('"')
            return self._push(device, user, key, body)
        if path == "sync/pull":
            return self._pull(device, user, request.url.params)
        return problem(404, "not_found")

    # auth

    def _login(self, body: dict[str, Any]) -> httpx2.Response:
        if body["password"] != "fieldsync" or body["username"] not in self.users:
            return problem(401, "invalid_credentials")
        user = self.users[body["username"]]
        device = "device-" + body["device"]["install_id"]
        answer = self._pair(user, device) | {
            "device": {"id": device},
            "user": {"id": user, "role": "technician"},
            "tenant": {"id": "t1", "slug": "wales"},
        }
        return httpx2.Response(200, json=answer)

    def _pair(self, user: str, device: str) -> dict[str, Any]:
        self._serial += 1
        access, refresh = f"access-{self._serial}", f"refresh-{self._serial}"
        self._access[access] = (user, device)
        self._refresh[refresh] = (user, device, "")
        return {"access": access, "refresh": refresh}

    def _renew(self, refresh: str) -> httpx2.Response:
        """A new pair; the same one again until it is used, since answers get lost."""
        if self.refuses_refresh or refresh not in self._refresh:
            return problem(401, "refresh_invalid")
        user, device, successor = self._refresh[refresh]
        if not successor:
            successor = self._pair(user, device)["refresh"]
            self._refresh[refresh] = (user, device, successor)
        access = successor.replace("refresh", "access")
        self._access[access] = (user, device)
        return httpx2.Response(200, json={"access": access, "refresh": successor})

    # push

    def _push(self, device: str, user: str, key: str, body: bytes) -> httpx2.Response:
        stored = self.state.requests.get((device, key))
        if stored is not None:
            if stored[0] != body:
                return problem(422, "idempotency_key_reused")
            return answer(stored[1], stored[2], {"Idempotency-Replayed": "true"})
        mutations = json.loads(body)["mutations"]
        if len(mutations) > self.rows_max or len(body) > self.bytes_max:
            return problem(413, "push_rows_max")
        results = self._decide(device, user, key, mutations)
        report = json.dumps({"status": "partial", "server_time": "", "results": results}).encode()
        self.state.requests[device, key] = (body, 200, report)
        return answer(200, report)

    def _decide(
        self, device: str, user: str, key: str, mutations: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        units: dict[str, list[int]] = {}
        for at, mutation in enumerate(mutations):
            units.setdefault(mutation.get("group", f"#{at}"), []).append(at)
        results: dict[int, dict[str, Any]] = {}
        parents_first = sorted(
            units.values(),
            key=lambda unit: all(mutations[at]["collection"] in PARENTS for at in unit),
        )
        for unit in parents_first:
            backup = (dict(self.state.rows), dict(self.state.feed), self.state.head)
            unit.sort(key=lambda at: mutations[at]["collection"] in PARENTS)
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
        if "BAD" in mutation.get("data", {}).values():
            return {
                "outcome": "invalid",
                "code": "validation_failed",
                "errors": [{"path": "title", "code": "bad", "detail": "Bad.", "args": {}}],
            }
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
        if name[0] in PARENTS:
            field_name, parent_collection = PARENTS[name[0]]
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
        edit = {k: v for k, v in mutation["data"].items() if row.data.get(k) != v}
        if not edit:
            return {"outcome": "unchanged", "version": row.version}
        moved = {k for k, version in row.field_versions.items() if version > base}
        overlap = sorted(moved & edit.keys())
        if base > row.version or overlap or (moved and name[0] not in MERGING):
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
        self.state.head += 1
        self.state.feed[name] = self.state.head

    # pull

    def _pull(self, device: str, user: str, params: httpx2.QueryParams) -> httpx2.Response:
        if self.gone_code is not None:
            code, self.gone_code = self.gone_code, None
            return problem(410, code)
        epoch, after = self.epoch, 0
        is_first = "cursor" not in params
        if not is_first:
            epoch, after = map(int, params["cursor"].split(":"))
        if epoch != self.epoch:
            return problem(410, "epoch_changed")
        if not is_first and after < self.floor:
            return problem(410, "cursor_expired")
        entries = sorted(
            [
                (seq, name)
                for name, seq in self.state.feed.items()
                if (user, *name) not in self.hidden
            ]
            + [(seq, name) for (owner, *name), seq in self.hidden.items() if owner == user]
        )
        entries = [entry for entry in entries if entry[0] > after]
        page = entries[: int(params["limit"])]
        has_more = len(entries) > len(page)
        scanned = page[-1][0] if has_more else max(self.state.head, after)
        changes = [self._change(name, device, user) for _, name in page]
        if is_first:
            changes = [change for change in changes if change["op"] == "upsert"]
        cursor = f"{self.epoch}:{scanned}"
        body = {"cursor": cursor, "has_more": has_more, "server_time": "", "changes": changes}
        return httpx2.Response(200, json=body)

    def _change(self, name: Any, device: str, user: str) -> dict[str, Any]:
        collection, row_id = name
        change = {"collection": collection, "id": row_id}
        if (user, collection, row_id) in self.hidden:
            return change | {"op": "scope_exit"}
        row = self.state.rows[collection, row_id]
        if row.is_deleted:
            return change | {"op": "delete", "version": row.version}
        own = row.device == device
        return change | {"op": "upsert", "version": row.version, "own": own, "data": row.data}

    # what happens in the office

    def hide(self, username: str, collection: str, row_id: str) -> None:
        """The row leaves the scopes of this user."""
        self.state.head += 1
        self.hidden[self.users[username], collection, row_id] = self.state.head

    def edit(self, collection: str, row_id: str, **fields: Any) -> None:
        """Somebody else edits a row."""
        base = self.state.rows[collection, row_id].version
        mutation = {"base_version": base, "data": fields}
        self._update((collection, row_id), self.state.rows[collection, row_id], mutation, "office")

    def delete(self, collection: str, row_id: str) -> None:
        """Somebody else deletes a row."""
        row = self.state.rows[collection, row_id]
        self._delete((collection, row_id), row, {"base_version": row.version}, "office")

    def prune(self) -> None:
        """Forget all tombstones: older cursors are refused."""
        for name in [name for name, row in self.state.rows.items() if row.is_deleted]:
            del self.state.feed[name]
        self.floor = self.state.head

    def backup(self) -> State:
        """A copy of everything, to restore later."""
        return copy.deepcopy(self.state)

    def restore(self, backup: State) -> None:
        """Go back to a backup: what came after it is gone, and the feed has another identity."""
        self.state = copy.deepcopy(backup)
        self.epoch += 1

    def live(self, collection: str) -> dict[str, dict[str, Any]]:
        """The rows of a collection that exist."""
        return {
            row_id: row.data
            for (kind, row_id), row in self.state.rows.items()
            if kind == collection and not row.is_deleted
        }

    def pushes(self) -> list[tuple[str, bytes]]:
        """(key, body) of every push that was sent, in order."""
        return [
            (headers["idempotency-key"], body)
            for _, path, body, headers in self.seen
            if path == "sync/push"
        ]


APPLIED = frozenset({"created", "updated", "deleted", "merged", "unchanged"})


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


def answer(status: int, body: bytes, headers: dict[str, str] | None = None) -> httpx2.Response:
    """A JSON answer of these exact bytes."""
    kind = {"content-type": "application/json"}
    return httpx2.Response(status, headers=kind | (headers or {}), content=body)


def problem(status: int, code: str, headers: dict[str, str] | None = None) -> httpx2.Response:
    """A problem document."""
    body = {
        "status": status,
        "code": code,
        "title": code,
        "detail": f"{code}.",
        "request_id": "r1",
    }
    kind = {"content-type": "application/problem+json"}
    return httpx2.Response(
        status, headers=kind | (headers or {}), content=json.dumps(body).encode()
    )
