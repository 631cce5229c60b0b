"""Failpoints of server processes: each push that reaches one asks the test, and waits for a word.

    server process                              test
    ask_at_every_point(address)                 with failpoint_control() as control:
    reach(LOGGED) ── "logged 4711 3802" ──>         catch = control.catch(Point.LOGGED)
                  <── "go" ───────────────          caught = catch.wait()    # it stands there now
                                                    caught.kill()            # or .let_go()

Only an application module of the tests calls `ask_at_every_point`; a process that does not is out
of reach. When the test has gone, all points pass.
"""

from __future__ import annotations

import os
import queue
import signal
import socket
import socketserver
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

from sync.failpoints import Point, arm

HOST = "127.0.0.1"
WAIT_S_MAX = 60.0  # a push that never comes fails the test; one that is forgotten goes on
GO = b"go\n"


def ask_at_every_point(address: str, *, database_process: Callable[[], int]) -> None:
    """Let every push of this process ask the control at `address` (host:port) at every point.

    `database_process` returns the process id of the thread's database session, 0 without one.
    """
    host, _, port = address.rpartition(":")
    for point in Point:
        arm(point, partial(_ask, (host, int(port)), point, database_process))


def _ask(address: tuple[str, int], point: Point, database_process: Callable[[], int]) -> None:
    line = f"{point} {os.getpid()} {database_process()}\n"
    with suppress(OSError), socket.create_connection(address, timeout=WAIT_S_MAX) as asking:
        asking.sendall(line.encode())
        asking.recv(len(GO))


@dataclass(frozen=True, slots=True, kw_only=True)
class Caught:
    """A push that stands at a point, in a process that can be killed there."""

    point: Point
    process_id: int
    database_process_id: int
    _may_go: threading.Event = field(default_factory=threading.Event)

    def let_go(self) -> None:
        """Let it go on."""
        self._may_go.set()

    def kill(self) -> None:
        """Kill its process where it stands (SIGKILL)."""
        os.kill(self.process_id, signal.SIGKILL)

    def stand(self) -> None:
        """Return when it may go on."""
        self._may_go.wait(WAIT_S_MAX)


class Catch:
    """The promise to stop the next push at a point."""

    def __init__(self) -> None:
        self._caught: queue.SimpleQueue[Caught] = queue.SimpleQueue()

    def put(self, caught: Caught) -> None:
        """Hand over the push that was stopped."""
        self._caught.put(caught)

    def wait(self, timeout_s: float = WAIT_S_MAX) -> Caught:
        """Return the push that was stopped, as soon as there is one.

        Raises:
            TimeoutError: none came.
        """
        try:
            return self._caught.get(timeout=timeout_s)
        except queue.Empty:
            message = "no push came to the failpoint"
            raise TimeoutError(message) from None


class FailpointControl:
    """The test's side; its methods may be called from any thread."""

    def __init__(self) -> None:
        self._catches: dict[Point, deque[Catch]] = {point: deque() for point in Point}
        self._standing: list[Caught] = []
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """What the server processes are told, as host:port."""
        return f"{HOST}:{self._server.server_address[1]}"

    def catch(self, point: Point) -> Catch:
        """Stop the next push that comes to `point`, in whichever process; later ones pass."""
        catch = Catch()
        self._catches[point].append(catch)
        return catch

    def release(self) -> None:
        """Let everything go that stands, and stop nothing any more."""
        for catches in self._catches.values():
            catches.clear()
        while self._standing:
            self._standing.pop().let_go()

    def close(self) -> None:
        """Let everything go, and stop listening."""
        self._server.shutdown()
        self.release()
        self._server.server_close()
        self._thread.join(WAIT_S_MAX)

    def receive(self, line: str) -> None:
        """Return when the push that says `line` may go on."""
        point, process_id, database_process_id = line.split()
        with suppress(IndexError):
            catch = self._catches[Point(point)].popleft()
            caught = Caught(
                point=Point(point),
                process_id=int(process_id),
                database_process_id=int(database_process_id),
            )
            self._standing.append(caught)
            catch.put(caught)
            caught.stand()


class _Handler(socketserver.StreamRequestHandler):
    """One reach of one point."""

    server: _Server

    def handle(self) -> None:
        line = self.rfile.readline()
        if line.endswith(b"\n"):
            self.server.control.receive(line.decode())
            with suppress(OSError):  # it was killed
                self.wfile.write(GO)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, control: FailpointControl) -> None:
        super().__init__((HOST, 0), _Handler)
        self.control = control


@contextmanager
def failpoint_control() -> Iterator[FailpointControl]:
    """Listen for the pushes of server processes during the block."""
    control = FailpointControl()
    try:
        yield control
    finally:
        control.close()
