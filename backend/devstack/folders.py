"""Temporary folders whose owner can be seen to live: a lock that the kernel drops at its death.

    create -> lock the folder itself -> use -> remove
    kill -9 of the owner -> lock gone -> the next start sweeps the folder

A lock on the folder says more than a process id in a file: it survives no reboot, is never
mistaken for a later process with the same id, and is right across process-id namespaces.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from pathlib import Path

from backend.devstack.signals import held

PREFIX = "fieldsync-"
REMOVE_TRIES = 20  # a server in its last moments may still write a file between two tries
OTHER_PLACES = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))  # noqa: S108  # folders below are made by mkdtemp


class TemporaryFolder:
    """A folder of ours, everyone may enter but not list it; gone after `remove()`."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    def remove(self) -> None:
        """Remove the folder with all it holds; doing it again is harmless."""
        with held():
            if self._lock >= 0:
                _remove_tree(self.path)
                os.close(self._lock)
                self._lock = -1


def make_folder(place: Path | None = None) -> TemporaryFolder:
    """Make a folder below `place` (the system's temporary folder) and sweep dead owners' ones."""
    place = place or _choose_place()
    sweep(place)
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue  # as below, and sooner
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _is_same(path, lock):
            path.chmod(0o711)
            return TemporaryFolder(path, lock)
        os.close(lock)  # another start took it for a dead owner's before we had the lock


def sweep(place: Path) -> list[Path]:
    """Remove and return the folders below `place` that are ours and whose owner is gone."""
    swept = []
    for path in place.glob(f"{PREFIX}*"):
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue  # somebody else's, a plain file, or gone
        try:
            if os.fstat(lock).st_uid == os.geteuid():
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove_tree(path)
                swept.append(path)
        except BlockingIOError:
            continue  # its owner lives
        finally:
            os.close(lock)
    return swept


def is_open_to_everyone(folder: Path) -> bool:
    """Whether any account may enter `folder`, which needs every parent to be open too."""
    return all(
        stat.S_IMODE(step.stat().st_mode) & stat.S_IXOTH
        for step in (folder.resolve(), *folder.resolve().parents)
    )


def _choose_place() -> Path:
    """The system's temporary folder; as root, one that the database's account can enter."""
    usual = Path(tempfile.gettempdir())
    if os.geteuid() != 0:
        return usual
    places = [place for place in (usual, *OTHER_PLACES) if place.is_dir()]
    return next((place for place in places if is_open_to_everyone(place)), usual)


def _is_same(path: Path, lock: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(lock))
    except FileNotFoundError:
        return False


def _remove_tree(path: Path) -> None:
    for _ in range(REMOVE_TRIES):
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
