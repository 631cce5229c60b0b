"""A child that listens on a TCP port: choose the port, start, wait until it answers.

    free port -> launch -> poll [ended? -> port stolen: again | else StartFailed ] -> answers

A free port can be taken by somebody else before the child binds it; then another one is tried.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend.devstack.errors import PortTaken, StartFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from backend.devstack.processes import Child

HOST = "127.0.0.1"  # nothing started here is reachable from another machine
PORT_TRIES = 5
POLL_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """How to start one kind of listening child.

    `launch` starts it on a port, `answers` says whether *it* (not just anybody) answers there.
    """

    launch: Callable[[int], Child]
    answers: Callable[[int], bool]
    ready_s_max: float
    host: str = HOST

    def start(self, port: int = 0) -> tuple[Child, int]:
        """Start it on `port` (0: any free one) and return it with its port once it answers.

        Raises:
            PortTaken: `port` was given and somebody listens there.
            StartFailed: the child ended or did not answer within `ready_s_max` seconds.
        """
        if port:
            if not is_port_free(self.host, port):
                raise PortTaken(host=self.host, port=port)
            return self._try(port), port
        for _ in range(PORT_TRIES - 1):
            chosen = find_free_port(self.host)
            try:
                return self._try(chosen), chosen
            except StartFailed as failure:
                if "already in use" not in failure.log_tail.lower():
                    raise
        chosen = find_free_port(self.host)
        return self._try(chosen), chosen

    def _try(self, port: int) -> Child:
        child = self.launch(port)
        try:
            self._wait(child, port)
        except BaseException:
            child.stop()
            raise
        return child

    def _wait(self, child: Child, port: int) -> None:
        deadline = time.monotonic() + self.ready_s_max
        while not (self.answers(port) and child.is_running()):
            if not child.is_running():
                reason = f"it ended with status {child.wait()}"
                raise StartFailed(name=child.name, reason=reason, log_tail=child.log_tail())
            if time.monotonic() > deadline:
                reason = f"no answer within {self.ready_s_max:g} s"
                raise StartFailed(name=child.name, reason=reason, log_tail=child.log_tail())
            time.sleep(POLL_S)


def find_free_port(host: str = HOST) -> int:
    """A port that nobody listens on at this moment."""
    with socket.create_server((host, 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def is_port_free(host: str, port: int) -> bool:
    """Whether we could listen on `port` at this moment."""
    try:
        socket.create_server((host, port)).close()
    except OSError:
        return False
    return True
