"""The writers' side: pokes are sent after COMMIT, by one thread for the whole process.

    put (any thread; never waits, never fails) -> pending, one a tenant -> the thread -> the line

It sends what is there and then rests: what is put meanwhile is one message a tenant, however many
commits it stands for. What cannot be sent is dropped, since those who wait also look by
themselves; the log says so at most once a minute.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sync.pokes.line import Complaints, Line
from sync.pokes.lines import make_line
from sync.pokes.message import Poke, render

if TYPE_CHECKING:
    from uuid import UUID

log = logging.getLogger(__name__)

REST_S = 0.05  # what comes within it is one message
EXIT_S_MAX = 2.0  # a line that hangs holds no command for longer


class Publisher:
    """Sends pokes in the background. A process has one; a forked one begins anew."""

    def __init__(self, make: Callable[[], Line | None] = make_line) -> None:
        self._make = make
        self._lock = threading.Lock()  # of what is pending; never held while something is sent
        self._sending = threading.Lock()
        self._is_pending = threading.Event()
        self._pending: dict[UUID, Poke] = {}
        self._thread: threading.Thread | None = None
        self._line: Line | None = None
        self._complain = Complaints(log, "pokes are lost, devices find out later")
        os.register_at_fork(after_in_child=self._begin_anew)
        atexit.register(self.flush)

    def put(self, poke: Poke) -> None:
        """Have `poke` sent soon."""
        with self._lock:
            known = self._pending.get(poke.tenant_id)
            self._pending[poke.tenant_id] = known | poke if known else poke
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="pokes", daemon=True)
                thread.start()  # raises while the interpreter ends: then `flush` sends it
                self._thread = thread
        self._is_pending.set()

    def flush(self) -> None:
        """Send now what is pending: a command may end before the thread gets to it."""
        if self._sending.acquire(timeout=EXIT_S_MAX):
            try:
                self._send()
            finally:
                self._sending.release()

    def close(self) -> None:
        """Send what is pending and close the line; the next `put` opens another."""
        self.flush()
        with self._sending:
            line, self._line = self._line, None
            if line is not None:
                line.close()

    def _begin_anew(self) -> None:
        """Leave thread, locks, line and what is pending to the process that forked us."""
        self._lock, self._sending = threading.Lock(), threading.Lock()
        self._is_pending = threading.Event()
        self._pending, self._thread, self._line = {}, None, None

    def _run(self) -> None:
        while True:
            self._is_pending.wait()
            self._is_pending.clear()
            with self._sending:
                self._send()
            time.sleep(REST_S)

    def _send(self) -> None:
        with self._lock:
            pokes, self._pending = list(self._pending.values()), {}
        if not pokes:
            return
        try:
            self._line = self._line or self._make()
            if self._line is not None:
                self._line.publish([render(poke) for poke in pokes])
        except Exception as error:  # a thread that dies takes all later pokes along
            self._complain(error)


publisher = Publisher()
