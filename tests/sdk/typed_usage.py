"""How an app uses the SDK, for the type checkers: mypy and pyright, both strict. It never runs.

`assert_type` fails where a type got lost or wider, an unused `type: ignore` where a mistake is no
longer found.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, assert_type

import msgspec

import fieldsync
from fieldsync.testing import Clock, FakeServer, Fault, refusal


def use(client: fieldsync.Client) -> None:
    """Calls of a blocking client, and what they give."""
    client.login("tess", "secret")
    report = client.sync()
    assert_type(report, fieldsync.SyncReport)
    assert_type(report.outcomes, Counter[str])
    assert_type(client.status(), fieldsync.Status)
    assert_type(client.status().user, str | None)
    client.run_forever(told, progress=watch)
    client.run_forever()
    assert_type(client.verify(progress=watch).verified, bool | None)


def told(report: fieldsync.SyncReport, error: fieldsync.FieldsyncError | None) -> None:
    """What a client that syncs by itself tells."""
    if error is not None:
        assert_type(error.error_class, fieldsync.ErrorClass)
        assert_type(error.retry_after_s, float | None)


def watch(progress: fieldsync.Progress) -> None:
    """How far it is."""
    assert_type(progress.total, int | None)


def edit(client: fieldsync.Client) -> None:
    """Rows."""
    orders = client.collection("work_orders")
    assert_type(orders, fieldsync.Collection[fieldsync.Row])
    with client.group("visit-17"):
        row_id = orders.create({"title": "Pump"}, id="w1")
    assert_type(row_id, str)
    orders.update(row_id, {"priority": 1})
    row = orders.get(row_id)
    assert_type(row, fieldsync.Row | None)
    if row is not None:
        assert_type(row.data, dict[str, Any])
        assert_type(row.version, int | None)
    assert_type(orders.query(title="Pump"), list[fieldsync.Row])
    assert_type(orders.first(order="-due"), fieldsync.Row | None)
    with orders.edit(row_id) as fields:
        assert_type(fields, dict[str, Any])
    assert_type(orders.undo(row_id), fieldsync.Undone | None)
    orders.delete(row_id)


class Order(msgspec.Struct):
    """A class of the app."""

    title: str
    id: str = ""


@dataclass
class Note:
    """Another one."""

    text: str
    id: str = ""


def edit_objects(client: fieldsync.Client) -> None:
    """Rows as objects."""
    orders = client.collection("work_orders", Order)
    assert_type(orders, fieldsync.Collection[Order])
    assert_type(orders.get("w1"), Order | None)
    assert_type(orders.query(title="Pump", order="title", limit=3), list[Order])
    assert_type(next(orders.iterate()), Order)
    with orders.edit("w1") as order:
        assert_type(order, Order)
    orders.save(order)
    client.collection("notes", Note).create(Note("rust"))
    client.collection("notes", Note).save(order)  # type: ignore[arg-type]


def hear(client: fieldsync.Client) -> None:
    """Changes."""

    def show(change: fieldsync.RowsChanged) -> None:
        assert_type(change.by, fieldsync.Cause)
        assert_type(change.rows["notes"], frozenset[str])

    end = client.on_change(show)
    assert_type(client.collection("notes").on_change(show), Callable[[], None])
    end()


def settle(client: fieldsync.Client | fieldsync.AsyncClient) -> None:
    """Issues, of either client."""
    for issue in client.issues():
        assert_type(issue, fieldsync.Issue)
        assert_type(issue.mine, dict[str, Any])
        assert_type(issue.theirs, dict[str, Any] | None)
        assert_type(issue.created_at, datetime)
        assert_type(issue.error_class, fieldsync.ErrorClass)
        assert_type(issue.resolve("mine"), str | None)
        issue.resolve({"title": "Pump"})
        issue.retry()
        issue.discard()


async def use_async(client: fieldsync.AsyncClient) -> None:
    """The same on an event loop."""
    await client.login("tess", "secret")
    assert_type(await client.sync(), fieldsync.SyncReport)
    task = asyncio.create_task(client.run_forever(told))
    client.sync_soon()
    client.stop()
    await task


def mistakes(client: fieldsync.Client) -> None:
    """What a checker has to find; each comment is wrong if it does not."""
    client.collection("notes").create("text")  # type: ignore[arg-type]
    client.issues()[0].resolve("ours")  # type: ignore[arg-type]
    client.run_forever(edit)  # type: ignore[arg-type]
    client.status().pending = 0  # type: ignore[misc]
    fieldsync.Client("http://server")  # type: ignore[call-arg]
    fieldsync.Client("http://server", store="a.db", timeout=3)  # type: ignore[call-arg]


def test(folder: Path) -> None:
    """An app's test."""
    server, clock = (
        FakeServer(merging={"notes"}, parents={}),
        Clock(datetime(2026, 1, 1, tzinfo=UTC)),
    )
    with fieldsync.Client(
        "http://server",
        store=folder / "a.db",
        http=server.client(),
        retry=fieldsync.RetryPolicy(attempts_max=2),
        sleep=clock.sleep,
        now=clock.now,
    ) as client:
        assert_type(client, fieldsync.Client)
    server.faults.extend([Fault.BUSY, None])
    server.judge = lambda mutation: refusal("forbidden", "role") if mutation else None
    assert_type(server.live("notes"), dict[str, dict[str, Any]])
    with server.offline():
        server.edit("notes", "n1", text="x")
