"""One set of figures for all processes of a server: each writes files into one folder.

    uvicorn, n processes -> FOLDER/*_<pid>.db -> /metrics

FOLDER is $PROMETHEUS_MULTIPROC_DIR, or else figures-of-fieldsync-<pid of uvicorn> in the folder
for temporary files. Of a server with one process there is none: its figures are in its memory.
To be called before prometheus_client is imported, which looks for the folder then.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
PREFIX: Final = "figures-of-fieldsync-"
_LIVE: Final = re.compile(r"gauge_live\w+_(\d+)\.db")


def share_figures() -> None:
    """Choose the folder, and take out of it what dead processes have left."""
    if multiprocessing.parent_process() is None:  # it is the only one
        os.environ.pop(VARIABLE, None)
        return
    place = Path(tempfile.gettempdir())
    folder = Path(os.environ.get(VARIABLE) or place / f"{PREFIX}{os.getppid()}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        os.environ.pop(VARIABLE, None)
        print(f"the figures of each process stand alone: {error}", file=sys.stderr)  # noqa: T201  # before any logging
        return
    os.environ[VARIABLE] = str(folder)
    _tidy(place, folder)


def _tidy(place: Path, folder: Path) -> None:
    """Delete the folders of servers that are gone, and gauges of processes that are."""
    for other in place.glob(f"{PREFIX}*"):
        pid = other.name.removeprefix(PREFIX)
        if pid.isdigit() and not _is_alive(int(pid)):
            shutil.rmtree(other, ignore_errors=True)
    for file in folder.iterdir():
        found = _LIVE.fullmatch(file.name)
        if found and not _is_alive(int(found[1])):
            file.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True
