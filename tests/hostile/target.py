"""The target: a real server with the demo's data, and a way to send it any bytes at all."""

from __future__ import annotations

import dataclasses
import json
import socket
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, Final

from backend.throttling.rates import DEFAULTS
from loadtests.bench.processes import list_tree, private_mib
from tests.faults.rig import WireCaller
from tests.phones import PUSH
from tests.recovery.field import Field, running_field

TIMEOUT_S: Final = 30.0
PULL: Final = "/api/v1/sync/pull"
HEAD_BYTES_MAX: Final = 65_536
UNBOUNDED: Final = ",".join(f"{scope}=900000000/1s" for scope in DEFAULTS)
NO_HTTP: Final = b"Invalid HTTP request received."  # uvicorn's own


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What came back: 0 and nothing where the connection was closed without an answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclasses.dataclass(kw_only=True)
class Target:
    """A server, and a device that is logged in."""

    field: Field
    caller: WireCaller

    @property
    def port(self) -> int:
        return self.field.servers[0].port

    @property
    def bearer(self) -> bytes:
        return f"Bearer {self.caller.access}".encode()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_S)

    def send(
        self, method: bytes, path: bytes, headers: Mapping[bytes, bytes], body: bytes = b""
    ) -> Heard:
        """Send a request, of whatever bytes; hear what comes."""
        lines = [method + b" " + path + b" HTTP/1.1", b"Host: 127.0.0.1", b"Connection: close"]
        lines += [name + b": " + value for name, value in headers.items()]
        return self.send_raw(b"\r\n".join(lines) + b"\r\n\r\n" + body)

    def send_raw(self, request: bytes, *, hangs_up: bool = False) -> Heard:
        """Send these bytes, and read to the end; with `hangs_up`, say that nothing more comes."""
        with closing(self.connect()) as line:
            try:
                line.sendall(request)
                if hangs_up:
                    line.shutdown(socket.SHUT_WR)
                pieces = []
                while piece := line.recv(65_536):
                    pieces.append(piece)
            except (ConnectionResetError, BrokenPipeError):
                pieces = []
        return parse(b"".join(pieces))

    def push(self, body: bytes, **headers: bytes) -> Heard:
        """Send a push of a device that is logged in."""
        named = {name.replace("_", "-").encode(): value for name, value in headers.items()}
        given = {
            b"Authorization": self.bearer,
            b"Content-Type": b"application/json",
            b"Idempotency-Key": str(uuid.uuid4()).encode(),
            b"Content-Length": str(len(body)).encode(),
        }
        return self.send(b"POST", PUSH.encode(), given | named, body)

    def pull(self, query: bytes = b"", **headers: bytes) -> Heard:
        """Send a pull of the same device."""
        named = {name.replace("_", "-").encode(): value for name, value in headers.items()}
        return self.send(b"GET", PULL.encode() + query, {b"Authorization": self.bearer} | named)

    def memory_mib(self) -> float:
        """What the server's processes have of their own."""
        return sum(map(private_mib, list_tree(self.field.servers[0].child.pid)))

    def threads(self) -> int:
        """How many threads they have."""
        tree = list_tree(self.field.servers[0].child.pid)
        return sum(process.num_threads() for process in tree)

    def check_well(self) -> None:
        """Whoever is in order is served as ever."""
        assert self.pull(b"?limit=1").status == 200
        assert 500 not in self.field.statuses()


def parse(answer: bytes) -> Heard:
    """Return what an answer says."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    parts = first.split(b" ")
    status = int(parts[1]) if len(parts) > 1 else 0
    pairs = (line.decode("latin-1").partition(":") for line in lines)
    return Heard(
        status=status,
        headers={name.lower(): value.strip() for name, _, value in pairs},
        body=body,
    )


def problem_of(heard: Heard) -> dict[str, Any]:
    """Return the problem document of a refusal; it must be one, unless it is no HTTP at all."""
    if heard.body == NO_HTTP:
        return {}
    assert heard.headers["content-type"].startswith("application/problem+json"), heard
    found: dict[str, Any] = json.loads(heard.body)
    assert found["code"], found
    return found


@contextmanager
def running_target() -> Iterator[Target]:
    """Start a server with the demo's data, and log a device in."""
    with running_field(THROTTLE_RATES=UNBOUNDED) as field:
        caller = WireCaller(url=field.servers[0].url)
        caller.log_in("dora", install_id="hostile")
        yield Target(field=field, caller=caller)
