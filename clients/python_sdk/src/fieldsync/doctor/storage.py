"""Storage: the store's file, looked at from outside; nothing in it is changed.

there? -> ours alone? -> readable, whole, of a known schema -> writable, free -> room on the disk
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from contextlib import closing
from typing import TYPE_CHECKING

from fieldsync.doctor.finding import Area, Check, Finding, Level
from fieldsync.errors import StoreInUse
from fieldsync.lock import StoreLock
from fieldsync.schema import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE = Check(name="store file", area=Area.STORE)
MODE = Check(name="store mode", area=Area.STORE)
CONTENT = Check(name="store content", area=Area.STORE)
SCHEMA = Check(name="store version", area=Area.APP)
LOCK = Check(name="store lock", area=Area.STORE)
SPACE = Check(name="disk space", area=Area.STORE)
OTHERS = 0o077
BUSY_S = 2.0  # one transaction takes milliseconds: who holds the file for longer is stuck
FREE_BYTES_MIN = 64 * 2**20  # a first sync of 50,000 rows takes about so much
SALVAGE = (
    "keep a copy of the file, then log in with another --store; "
    "with the copy, support may save the unsent work"
)


def check_storage(path: Path, *, free_bytes_min: int = FREE_BYTES_MIN) -> Iterator[Finding]:
    """What is to be said of the file at `path`; ends at what makes the rest pointless."""
    try:
        is_there = path.is_file()
    except PermissionError:
        yield FILE.broken(f"this user may not look at {path}", _give(path.parent))
        return
    if not is_there:
        yield FILE.broken(
            f"there is no store at {path}", "log in, which makes one, or name it with --store"
        )
        return
    yield FILE.ok(f"{path}, {path.stat().st_size:,} bytes")
    yield _check_mode(path)
    for finding in _check_database(path):
        yield finding
        if finding.level is Level.BROKEN:
            return
    yield _check_space(path, free_bytes_min)


def _check_mode(path: Path) -> Finding:
    mode = stat.S_IMODE(path.stat().st_mode)
    if os.name == "posix" and mode & OTHERS:
        return MODE.warning(
            f"others on this machine may open it (mode {mode:04o}), and it holds the login",
            f"chmod 600 {path}",
        )
    return MODE.ok("only its owner may open it")


def _check_database(path: Path) -> Iterator[Finding]:
    try:
        with closing(_connect(path)) as connection:
            yield _check_content(connection)
            yield _check_schema(connection)
            yield _check_lock(connection, path)
    except sqlite3.Error as error:
        yield _say(error, path)


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY_S, isolation_level=None
    )


def _check_content(connection: sqlite3.Connection) -> Finding:
    (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        return CONTENT.broken(f"the file is damaged: {found.splitlines()[0]}", SALVAGE)
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if not {"meta", "outbox"} <= tables:
        return CONTENT.broken("it is a database, but no store", "name the right one with --store")
    return CONTENT.ok("whole")


def _check_schema(connection: sqlite3.Connection) -> Finding:
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found > VERSION:
        return SCHEMA.broken(
            f"a newer fieldsync wrote it (version {found}; this one knows {VERSION})",
            "update fieldsync",
        )
    return SCHEMA.ok(f"version {found}")


def _check_lock(connection: sqlite3.Connection, path: Path) -> Finding:
    try:
        StoreLock(path).release()
    except StoreInUse as error:
        return LOCK.broken(f"it is in use by {error.holder}", "close it there first")
    except OSError as error:
        return LOCK.broken(f"this user may not write beside it ({error})", _give(path.parent))
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("ROLLBACK")
    return LOCK.ok("free, and can be written to")


def _say(error: sqlite3.Error, path: Path) -> Finding:
    """What SQLite's refusal means. Source: its list of result codes."""
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return LOCK.broken(
                f"another process has held it for more than {BUSY_S:.0f} s",
                f"end the other program that uses it (who: fuser {path})",
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_CANTOPEN:
            return LOCK.broken(
                f"this user may not write to it ({error})",
                _give(path),
            )
        case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR:
            return SPACE.broken(f"the disk fails or is full ({error})", "free some space")
        case _:
            return CONTENT.broken(f"the file is damaged ({error})", SALVAGE)


def _give(path: Path) -> str:
    return f"run as its owner, or make it yours: chown $USER {path}"


def _check_space(path: Path, free_bytes_min: int) -> Finding:
    free = shutil.disk_usage(path.parent).free
    if free < free_bytes_min:
        return SPACE.warning(
            f"{free / 2**20:,.0f} MiB are left: soon nothing can be written",
            f"free some space on the disk of {path.parent}",
        )
    return SPACE.ok(f"{free / 2**30:,.1f} GiB free")
