"""Local writes: what an edit costs on this disk, beside a bare insert with the same promises.

    python -m loadtests.local_writes [FOLDER]

One edit is one transaction that is on the disk when the call returns; most of its time is the
disk's. The bare insert writes the same row into one table and is flushed as an edit is. They take
turns, so that a busy disk is busy for both.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import fieldsync

ROUNDS = 300
ROWS_PULLED = 5_000  # rows that the store holds besides
ROW = {"title": "Replace the pump seal", "kind": "repair", "priority": 2, "tasks": []}


def main(folder: Path) -> None:
    """Measure in `folder` and print a line for each way of writing: milliseconds and ratio."""
    bare = sqlite3.connect(folder / "bare.db", isolation_level=None)
    bare.execute("PRAGMA journal_mode = WAL")
    bare.execute("PRAGMA synchronous = FULL")
    bare.execute("CREATE TABLE row (id TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID")
    with fieldsync.Client("http://nowhere", store=folder / "sdk.db") as client:
        orders = client.collection("work_orders")
        _fill(client)
        made: list[str] = []

        def insert() -> None:
            data = json.dumps(ROW)
            bare.execute("INSERT INTO row VALUES (?, ?)", (f"{time.monotonic_ns()}", data))

        def create() -> None:
            made.append(orders.create(ROW))

        def update() -> None:
            orders.update(made[-1], {"title": f"{time.monotonic_ns()}"})

        def read() -> None:
            orders.get(made[-1])

        ways: dict[str, Callable[[], None]] = {
            "bare insert": insert,
            "create": create,
            "update": update,
            "get": read,
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, way in ways.items():
                times[name].append(_time_ms(way))
    bare.close()
    floor_ms = median(times["bare insert"])
    for name, all_ms in times.items():
        print(f"{name:12} {median(all_ms):7.3f} ms   {median(all_ms) / floor_ms:5.2f} x")


def _fill(client: fieldsync.Client) -> None:
    store = client._engine._store  # noqa: SLF001  # as a pull would, without a server
    with store.transaction():
        store.writer.executemany(
            "INSERT INTO replica VALUES ('work_orders', ?, 1, ?, 1)",
            ((f"{at:08}", json.dumps(ROW)) for at in range(ROWS_PULLED)),
        )


def _time_ms(way: Callable[[], None]) -> float:
    began = time.perf_counter()
    way()
    return (time.perf_counter() - began) * 1_000


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as place:
        main(Path(place))
