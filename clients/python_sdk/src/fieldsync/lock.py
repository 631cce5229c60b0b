"""Lock: one process at a time has a store.

    phone.db        the store                phone.db.lock   locked by whoever has it open

The operating system holds the lock and lets go of it when the process ends, however it ends. What
the file says, the holder's id and program, is only for the message to whoever comes second. The
file stays; deleting it while a store is open takes the protection away.
"""

from __future__ import annotations

import os
import sys
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

from fieldsync.errors import StoreInUse

if TYPE_CHECKING:
    from typing import IO

HOLDER_LENGTH_MAX = 200  # characters of the file that are shown
PLACE_FAR_AWAY = 1 << 30  # Windows locks bytes, and nobody else can read those


class StoreLock:
    """The right to use the store at `path`, until `release`. Raises: StoreInUse."""

    def __init__(self, path: str | Path) -> None:
        real = os.path.realpath(path)  # two ways to one file are one file
        self._file = _open(f"{real}.lock")
        if not _lock(self._file):
            with self._file:
                self._file.seek(0)
                raise StoreInUse(str(path), holder=self._file.read(HOLDER_LENGTH_MAX))
        self._file.seek(0)
        self._file.truncate()
        self._file.write(f"process {os.getpid()} ({Path(sys.argv[0]).name or 'python'})")
        self._file.flush()
        _held.add(self)

    def release(self) -> None:
        """Let others have it."""
        self._file.close()


def _open(path: str) -> IO[str]:
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    return os.fdopen(descriptor, "r+", encoding="utf-8", errors="replace")


if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[str]) -> bool:
        file.seek(PLACE_FAR_AWAY)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _lock(file: IO[str]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


_held: weakref.WeakSet[StoreLock] = weakref.WeakSet()


def _forget_inherited() -> None:
    """A forked child may live on: it must not keep the store of its dead parent locked."""
    for lock in list(_held):
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_inherited)
