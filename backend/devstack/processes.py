"""Child processes that cannot outlive us, and end in order when we end in order.

    start_child -> own process group -> [we stop it: signal -> wait -> KILL, by process id]
                                     -> [we are killed: the kernel sends it `death_signal`]
    children_ended() -> a block that ends what was started in it, also what no variable holds yet

The kernel's signal (PR_SET_PDEATHSIG) is tied to the *thread* that started the child, so children
asked for outside the main thread are started by one thread that lasts as long as we do. Where
there is no prctl (macOS) only the orderly stop remains.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from backend.devstack.errors import CommandFailed
from backend.devstack.signals import held

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

LOG_TAIL_LINES = 25
LOG_TAIL_BYTES_MAX = 16_384
GRACE_S = 10.0  # PostgreSQL's fast shutdown and a server's open requests take far less
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Whom a child runs as, when not as us."""

    name: str
    uid: int
    gid: int


class Child:
    """A running program that we started."""

    def __init__(
        self,
        *,
        name: str,
        process: subprocess.Popen[bytes],
        log: Path | None,
        death_signal: int = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.log = log
        self.starter = (os.getpid(), threading.get_ident())
        self._process = process
        self._death_signal = death_signal
        self._owns_group = os.getpgrp() != os.getpgid(process.pid)

    @property
    def pid(self) -> int:
        """The process id; it is ours until the end of the process has been seen."""
        return self._process.pid

    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        with held():  # broken off, `poll` can keep a lock that `stop` would wait for without end
            status = self._process.poll()
        if status is None:
            return True
        self._end_group()
        return False

    def send(self, signum: int) -> None:
        """Send `signum` to the process; nothing happens when it has ended."""
        self._process.send_signal(signum)

    def wait(self) -> int:
        """Wait for the end; the exit status as a shell gives it (128 + n for a signal n)."""
        status = self._process.wait()
        self._end_group()
        return status if status >= 0 else 128 - status

    def stop(self, signum: int | None = None, *, grace_s: float = GRACE_S) -> None:
        """End it: `signum`, up to `grace_s` seconds, then KILL; what is left of its group too.

        Without a `signum` it is the child's death signal. Doing it again is harmless.
        """
        with held():
            self.send(self._death_signal if signum is None else signum)
            try:
                self._process.wait(timeout=grace_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._end_group()

    def log_tail(self) -> str:
        """The last lines of the log, or nothing when it has none."""
        return read_tail(self.log) if self.log else ""

    def _end_group(self) -> None:
        """End workers that outlived their supervisor, at once: later the id may be another's."""
        with suppress(ValueError):
            _LIVING.remove(self)
        if self._owns_group:
            self._owns_group = False
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)


_LIVING: list[Child] = []  # whose end has not been seen, the oldest first


@contextmanager
def children_ended() -> Iterator[None]:
    """End, at the end of the block, what this thread has started in it and nobody has stopped."""
    before = tuple(_LIVING)
    starter = (os.getpid(), threading.get_ident())
    try:
        yield
    finally:
        with held():
            for child in reversed(_LIVING.copy()):
                if child not in before and child.starter == starter:
                    child.stop()


@atexit.register
def _end_all() -> None:
    for child in reversed(_LIVING.copy()):
        if child.starter[0] == os.getpid():  # a forked copy of us must not end our children
            child.stop()


def start_child(  # noqa: PLR0913  # each is a separate decision of the caller
    *,
    name: str,
    command: Sequence[str | Path],
    environ: Mapping[str, str],
    log: Path | None = None,
    cwd: Path | None = None,
    account: Account | None = None,
    death_signal: int = signal.SIGTERM,
    in_foreground: bool = False,
) -> Child:
    """Start `command`; it ends when we do, even when we are killed.

    Args:
        name: what a person calls it, for messages.
        command: program and arguments.
        environ: all of its environment.
        log: file that takes its output; ours when None.
        cwd: its working folder; ours when None.
        account: whom it runs as; we must be root.
        death_signal: what the kernel sends it when we die.
        in_foreground: stay in our process group, so that the terminal's keys and input reach it.

    Raises:
        OSError: the program is missing or may not be run.
    """
    output = log.open("ab") if log else None

    def spawn() -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603  # commands are built here or typed by the user
            [os.fspath(part) for part in command],
            env=dict(environ),
            cwd=cwd,
            stdin=None if in_foreground else subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            process_group=None if in_foreground else 0,
            preexec_fn=_die_with_parent(death_signal),  # noqa: PLW1509  # one system call, no lock
        )

    try:
        with held():  # a signal that comes meanwhile is raised after the child was noted down
            process = _from_lasting_thread(spawn)
            child = Child(name=name, process=process, log=log, death_signal=death_signal)
            _LIVING.append(child)
        return child
    finally:
        if output:
            output.close()


def run_command(
    *, name: str, command: Sequence[str | Path], environ: Mapping[str, str], log: Path, cwd: Path
) -> None:
    """Run `command` to its end.

    Raises:
        CommandFailed: it ended with a status other than 0.
    """
    child = start_child(name=name, command=command, environ=environ, log=log, cwd=cwd)
    try:
        status = child.wait()
    finally:
        child.stop()
    if status:
        raise CommandFailed(name=name, status=status, log_tail=child.log_tail())


def read_tail(log: Path) -> str:
    """The last lines of `log`; empty when there is no such file."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LOG_TAIL_BYTES_MAX))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-LOG_TAIL_LINES:])


def _die_with_parent(death_signal: int) -> Callable[[], None] | None:
    """What the child runs between fork and exec, after it has changed its account."""
    if _LIBC is None:
        return None
    prctl, parent = _LIBC.prctl, os.getpid()

    def preexec() -> None:
        prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
        if os.getppid() != parent:  # we died between fork and prctl: nobody will send it
            os._exit(1)

    return preexec


@cache
def _lasting_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="devstack")


def _from_lasting_thread(
    spawn: Callable[[], subprocess.Popen[bytes]],
) -> subprocess.Popen[bytes]:
    if threading.current_thread() is threading.main_thread():
        return spawn()
    return _lasting_thread().submit(spawn).result()
