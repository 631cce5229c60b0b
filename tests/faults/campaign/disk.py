"""A small disk: a tmpfs to put a database on, so that it can be full. Needs to be root on Linux."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from backend.devstack.folders import make_folder

SIZE_MIB: Final = 640  # the tables, and what PostgreSQL keeps of its log
PIECE: Final = b"\0" * 1024 * 1024


@contextmanager
def small_disk() -> Iterator[Path | None]:
    """Mount a disk for the block; None where that is not allowed."""
    folder = make_folder()
    try:
        if not _mount(folder.path):
            yield None
            return
        try:
            folder.path.chmod(0o755)
            yield folder.path
        finally:
            subprocess.run(["umount", "--lazy", folder.path], check=False)  # noqa: S603, S607
    finally:
        folder.remove()


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Leave no byte free for the block."""
    ballast = disk / "ballast"
    try:
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:  # ends: when the disk is full
                file.write(PIECE)
        yield
    finally:
        ballast.unlink()


def _mount(folder: Path) -> bool:
    if os.geteuid() != 0:
        return False
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603
    return done.returncode == 0
