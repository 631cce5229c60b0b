"""A small server of the protocol in memory, with faults at its edge.

    server = FakeServer()
    client = Client("http://server", store=..., http=server.client())
    server.faults.append(Fault.LOST_ANSWER)      the next request meets it
    with server.offline(): ...                   no request arrives
    server.create, edit, delete, hide            what others do meanwhile
    server.backup, restore, prune                what operators do

It keeps a log of everything it ever applied, so that a test can say "nothing twice, nothing lost".
"""

from __future__ import annotations

import copy
import gzip
import json
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx2

from fieldsync.testing.answers import HTML, answer, in_pieces, problem, render
from fieldsync.testing.events import Events
from fieldsync.testing.faults import Cut, Fault
from fieldsync.testing.feed import NDJSON, Asked, Feed
from fieldsync.testing.rows import MERGING, PARENTS, State

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

READS = {
    "sync/pull": "_pull",
    "sync/digest": "_digest",
    "sync/rows": "_rows",
    "sync/limits": "_limits",
    "sync/events": "_listen",
}


class FakeServer(Feed):
    """The server of one tenant; `handle` is the whole network.

    `users` maps names to ids, all have one `password`, and all see every row that is not hidden.
    `seen` has (method, path, body, headers) of each request that arrived, `applied` (device, key,
    operation, row id) of each mutation that was carried out.
    """

    def __init__(
        self,
        *,
        merging: Collection[str] = MERGING,
        parents: Mapping[str, tuple[str, str]] = PARENTS,
    ) -> None:
        super().__init__()
        self.merging: Collection[str] = merging
        self.parents: Mapping[str, tuple[str, str]] = parents
        self.has_events = False  # else clients that sync by themselves hear of every change
        self.users: dict[str, str] = {"tess": "user-1", "tom": "user-2"}
        self.password = "fieldsync"  # noqa: S105  # of nobody
        self.rows_max = 1000
        self.bytes_max = 10**9
        self.faults: deque[Fault | Cut | None] = deque()  # None: that request goes well
        self.seen: list[tuple[str, str, bytes, dict[str, str]]] = []
        self._is_offline = False
        self.requests: list[httpx2.Request] = []  # the same, as they came
        self.before_answer: Callable[[str], None] = _do_nothing
        self.refuses_refresh = False
        self._access: dict[str, tuple[str, str]] = {}
        self._refresh: dict[str, tuple[str, str, str]] = {}
        self._serial = 0

    def client(self) -> httpx2.Client:
        """Connections to this server."""
        return httpx2.Client(transport=httpx2.MockTransport(self.handle))

    def async_client(self) -> httpx2.AsyncClient:
        """The same for an `AsyncClient`."""
        return httpx2.AsyncClient(transport=httpx2.MockTransport(self.handle))

    # the edge

    @contextmanager
    def offline(self) -> Iterator[None]:
        """No request arrives while the block lasts."""
        self._is_offline = True
        try:
            yield
        finally:
            self._is_offline = False

    def handle(self, request: httpx2.Request) -> httpx2.Response:
        """One request through the network, with its fault."""
        if self._is_offline:
            raise httpx2.ConnectError("no network", request=request)
        path = request.url.path.removeprefix("/api/v1/")
        body = request.content
        if request.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.requests.append(request)
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
        return self._deliver(response, fault)

    @staticmethod
    def _deliver(response: httpx2.Response, fault: Fault | Cut | None) -> httpx2.Response:
        """The answer, as far as it comes."""
        kind = response.headers.get("content-type")
        if fault is Fault.TRUNCATED:
            return httpx2.Response(
                response.status_code,
                headers={"content-type": kind} if kind else {},
                content=response.content[: len(response.content) * 4 // 5],
            )
        if isinstance(fault, Cut):
            return in_pieces(response, fault.after_bytes)
        return in_pieces(response) if kind == NDJSON else response

    @staticmethod
    def _early(fault: Fault | Cut | None) -> httpx2.Response | None:
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
        if path not in READS:
            return problem(404, "not_found")
        asked = Asked(user, device, dict(request.url.params), request.headers)
        found: httpx2.Response = getattr(self, READS[path])(asked)
        return found

    def _limits(self, _: Asked) -> httpx2.Response:
        limits = {
            "push_rows_max": self.rows_max,
            "body_bytes_max": self.bytes_max,
            "compressed_body_bytes_max": self.bytes_max,
            "content_encodings": ["gzip"],
        }
        return answer(200, render(limits).encode())

    def _listen(self, _: Asked) -> httpx2.Response:
        if not self.has_events:
            return problem(404, "not_found")
        events = Events(self.changed, lambda: self.state.head)
        kind = {"content-type": "text/event-stream; charset=utf-8"}
        return httpx2.Response(200, headers=kind, stream=events)

    # auth

    def _login(self, body: dict[str, Any]) -> httpx2.Response:
        if body["password"] != self.password or body["username"] not in self.users:
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
        results = self.decide(device, user, key, mutations)
        report = json.dumps({"status": "partial", "server_time": "", "results": results}).encode()
        self.state.requests[device, key] = (body, 200, report)
        return answer(200, report)

    # what operators do

    def hide(self, username: str, collection: str, row_id: str) -> None:
        """The row leaves the scopes of this user."""
        self._move_head()
        self.hidden[self.users[username], collection, row_id] = self.state.head

    def prune(self) -> None:
        """Forget all tombstones: older cursors are refused."""
        for name in [name for name, row in self.state.rows.items() if row.is_deleted]:
            self.state.feed.pop(name, None)
        self.floor: int = self.state.head

    def backup(self) -> State:
        """A copy of everything, to restore later."""
        return copy.deepcopy(self.state)

    def restore(self, backup: State) -> None:
        """Go back to a backup: what came after it is gone, and the feed has another identity."""
        self.state: State = copy.deepcopy(backup)
        self.floor = min(self.floor, self.state.head)
        self.epoch: int = self.epoch + 1

    def pushes(self) -> list[tuple[str, bytes]]:
        """(key, body) of every push that was sent, in order."""
        return [
            (headers["idempotency-key"], body)
            for _, path, body, headers in self.seen
            if path == "sync/push"
        ]


def _do_nothing(path: str) -> None:
    """What happens before an answer, unless a test has an idea."""
