"""`python -m loadtests.bench.device TASK FOLDER NUMBER`: a phone, in a process of its own.

    sdk-sync, hand-sync       a first sync; the server and the token are in the environment
    sdk-create, hand-create   so many new rows, each in a transaction of its own
    sdk-import, hand-import   so many starts of Python, with the SDK imported and without

It prints what it took, as JSON. By hand means: the least that anybody would write who wants the
same rows in SQLite, on the same disk with the same care, and knows nothing of syncing.
"""

from __future__ import annotations

import json
import os
import resource
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

TABLE: Final = """
CREATE TABLE replica (
    collection TEXT NOT NULL, row_id TEXT NOT NULL, version INTEGER NOT NULL, data TEXT NOT NULL,
    PRIMARY KEY (collection, row_id)
)
"""
INSERT: Final = "INSERT INTO replica VALUES (?, ?, ?, ?)"
BATCH_ROWS: Final = 1_000
ROW: Final = {"kind": "repair", "title": "Replace the pump seal", "priority": 3, "asset": None}
URL, TOKEN = "BENCH_URL", "BENCH_TOKEN"  # names in the environment


def sync_by_sdk(folder: Path, rows: int) -> Callable[[], None]:
    """Return what syncs for the first time with the SDK: checks its digest, and all."""
    import fieldsync
    from fieldsync.store import Store

    store = Store(folder / "sdk.db")
    store.set_meta(access=os.environ[TOKEN], refresh="none", user_id="bench", tenant_id="bench")
    store.close()
    client = fieldsync.Client(os.environ[URL], store=folder / "sdk.db")

    def sync() -> None:
        report = client.sync()
        if report.pulled < rows or not report.verified:
            sys.exit(f"a first sync came to {report}")

    return sync


def sync_by_hand(folder: Path, rows: int) -> Callable[[], None]:
    """Return what reads the same stream and inserts its rows."""
    import httpx2

    connection = _open(folder)
    headers = {
        "Accept": "application/x-ndjson",
        "Authorization": f"Bearer {os.environ[TOKEN]}",
    }

    def sync() -> None:
        batch: list[tuple[str, str, int, str]] = []
        with httpx2.stream(
            "GET", f"{os.environ[URL]}/api/v1/sync/pull", headers=headers, timeout=60
        ) as answer:
            for text in answer.iter_lines():
                line = json.loads(text)
                if "op" in line:
                    row = json.dumps(line["data"])
                    batch.append((line["collection"], line["id"], line["version"], row))
                if len(batch) == BATCH_ROWS:
                    _insert(connection, batch)
                    batch.clear()
        _insert(connection, batch)
        (count,) = connection.execute("SELECT count(*) FROM replica").fetchone()
        if count < rows:
            sys.exit(f"only {count} rows came")

    return sync


def create_by_sdk(folder: Path, rows: int) -> Callable[[], None]:
    """Return what creates rows with the SDK, one by one."""
    import fieldsync

    orders = fieldsync.Client("http://nowhere", store=folder / "sdk.db").collection("work_orders")

    def create() -> None:
        for _ in range(rows):
            orders.create(ROW)

    return create


def create_by_hand(folder: Path, rows: int) -> Callable[[], None]:
    """Return what inserts as many rows, each in a transaction."""
    connection = _open(folder)

    def create() -> None:
        for number in range(rows):
            _insert(connection, [("work_orders", str(number), 1, json.dumps(ROW))])

    return create


def import_sdk(folder: Path, starts: int) -> Callable[[], None]:
    """Return what starts Python with the SDK, time and again."""
    return _starting_python("import fieldsync", folder, starts)


def import_nothing(folder: Path, starts: int) -> Callable[[], None]:
    """Return what starts Python, time and again."""
    return _starting_python("pass", folder, starts)


def _starting_python(statement: str, folder: Path, starts: int) -> Callable[[], None]:
    """Compiled once before, as what is installed is, also where Python may write no bytecode."""
    environ = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder)}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)

    def start(times: int) -> None:
        for _ in range(times):
            subprocess.run([sys.executable, "-c", statement], check=True, env=environ)  # noqa: S603  # our own

    start(1)
    return lambda: start(starts)


TASKS: Final[dict[str, Callable[[Path, int], Callable[[], None]]]] = {
    "sdk-sync": sync_by_sdk,
    "hand-sync": sync_by_hand,
    "sdk-create": create_by_sdk,
    "hand-create": create_by_hand,
    "sdk-import": import_sdk,
    "hand-import": import_nothing,
}


def _open(folder: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(folder / "hand.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # as the SDK: what is told is on the disk
    connection.execute(TABLE)
    return connection


def _insert(connection: sqlite3.Connection, rows: list[tuple[str, str, int, str]]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(INSERT, rows)
    connection.execute("COMMIT")


def _cpu_s() -> float:
    both = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, both))


def main(task: str, folder: str, number: str) -> None:
    """Carry out a task, and print what it took."""
    work = TASKS[task](Path(folder), int(number))
    cpu_s, began = _cpu_s(), time.monotonic()
    work()
    took = {
        "seconds": time.monotonic() - began,
        "cpu_s": _cpu_s() - cpu_s,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    print(json.dumps(took))


if __name__ == "__main__":
    main(*sys.argv[1:])
