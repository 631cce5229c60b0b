"""A line between a server and PostgreSQL that can break in the moment that matters: COMMIT.

    server ──> link ──> PostgreSQL

    with database_link("127.0.0.1", 5432) as link:
        ... the server uses a DATABASE_URL with link.port ...
        link.break_next_commit(CommitFate.ANSWER_LOST)

To the server both fates look the same: the connection is gone, and it cannot know whether the
transaction is committed. It knows of PostgreSQL's protocol nothing but how COMMIT is sent.
"""

from __future__ import annotations

import enum
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

HOST = "127.0.0.1"
PIECE_BYTES = 65_536
JOIN_S_MAX = 10.0
COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"  # a simple query; drivers send it in one piece


class CommitFate(enum.StrEnum):
    """What becomes of a COMMIT whose connection breaks."""

    NEVER_ARRIVED = "never_arrived"
    """PostgreSQL does not hear of it, and rolls back."""
    ANSWER_LOST = "answer_lost"
    """PostgreSQL has committed; the server does not hear of it."""


class DatabaseLink:
    """A running link; its methods may be called from any thread."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._fate: CommitFate | None = None
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._sockets: set[socket.socket] = set()
        self._listening = socket.create_server((HOST, 0), backlog=128)
        self.broken: list[CommitFate] = []
        self.port: int = self._listening.getsockname()[1]
        self._start(self._accept)

    def break_next_commit(self, fate: CommitFate) -> None:
        """Break the connection on which the next COMMIT comes."""
        with self._lock:
            self._fate = fate

    def close(self) -> None:
        """Cut every connection and stop listening."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept()
        self._listening.close()
        self._cut(*self._sockets.copy())
        for thread in self._threads:
            thread.join(JOIN_S_MAX)

    def _accept(self) -> None:
        with suppress(OSError):  # the link was closed
            while True:
                server, _ = self._listening.accept()
                self._start(self._carry, server)

    def _carry(self, server: socket.socket) -> None:
        """Carry one connection in both directions until one side ends it."""
        self._note(server)
        answer_is_lost = threading.Event()
        with server, suppress(OSError), socket.create_connection(self._upstream) as database:
            self._note(database)
            back = self._start(self._carry_back, database, server, answer_is_lost)
            with suppress(OSError):
                self._carry_forth(server, database, answer_is_lost)
            if not answer_is_lost.is_set():
                self._cut(server, database)
            back.join()
            self._sockets.discard(database)
        self._sockets.discard(server)

    def _carry_forth(
        self, server: socket.socket, database: socket.socket, answer_is_lost: threading.Event
    ) -> None:
        while piece := server.recv(PIECE_BYTES):
            fate = self._take_fate() if piece.endswith(COMMIT) else None
            if fate is CommitFate.NEVER_ARRIVED:
                return
            if fate is CommitFate.ANSWER_LOST:
                answer_is_lost.set()
            database.sendall(piece)

    def _carry_back(
        self, database: socket.socket, server: socket.socket, answer_is_lost: threading.Event
    ) -> None:
        with suppress(OSError):
            while piece := database.recv(PIECE_BYTES):
                if answer_is_lost.is_set():
                    break  # this was the answer to COMMIT: it has happened
                server.sendall(piece)
        self._cut(server, database)

    def _note(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as libpq does
        self._sockets.add(connection)

    def _take_fate(self) -> CommitFate | None:
        with self._lock:
            fate, self._fate = self._fate, None
        if fate:
            self.broken.append(fate)
        return fate

    def _cut(self, *sockets: socket.socket) -> None:
        for each in sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _start(self, target: object, *args: object) -> threading.Thread:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()
        return thread


@contextmanager
def database_link(host: str, port: int) -> Iterator[DatabaseLink]:
    """Run a link to the PostgreSQL at `host` and `port` during the block."""
    link = DatabaseLink(host, port)
    try:
        yield link
    finally:
        link.close()
