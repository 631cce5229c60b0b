"""Death: the process dies before any one statement of a sync, and the next start puts it right."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from histories import MEMORY
from phone import Phone

from fieldsync.connections import Writer
from fieldsync.testing import FakeServer

STATEMENTS_MAX = 400  # of one sync of three rows


class Died(BaseException):
    """No code may catch this, as none runs after a kill."""


class DyingWriter:
    """A writer that stops for good before its `last` statement."""

    def __init__(self, writer: Writer, last: int) -> None:
        self._writer = writer
        self._left = last

    def __getattr__(self, name: str) -> Any:
        if name in {"execute", "first", "value", "insert", "executemany"}:
            if self._left == 0:
                raise Died
            self._left -= 1
        return getattr(self._writer, name)


def sync_until_death(phone: Phone, last: int) -> bool:
    """Sync; whether it died on the way."""
    engine = phone.client._engine
    real = engine._store.writer
    dying: Any = DyingWriter(real, last)
    engine._store.writer = engine._outbox._writer = dying
    try:
        phone.sync()
    except Died:
        return True
    finally:
        engine._store.writer = engine._outbox._writer = real
    return False


def test_death_before_any_statement_costs_nothing_and_doubles_nothing() -> None:
    """Between each two of them, the store says all that the next start must know."""
    for last in range(STATEMENTS_MAX):
        with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
            has_died = die_and_go_on(Path(folder), last)
        if not has_died:
            return
    pytest.fail("a sync without end")


def die_and_go_on(folder: Path, last: int) -> bool:
    """One life: three edits and somebody else's, a death, a restart, and the checks."""
    server = FakeServer()
    phone = Phone(server, folder / "phone.db").login()
    try:
        return die_and_check(server, phone, last)
    finally:
        phone.client.close()


def die_and_check(server: FakeServer, phone: Phone, last: int) -> bool:
    """Whether it died."""
    orders = phone["work_orders"]
    for at in range(3):
        orders.create({"title": str(at)}, id=f"w{at}")
    phone.sync()
    orders.update("w0", {"title": "Mine"})
    orders.delete("w1")
    orders.create({"title": "New"}, id="w3")
    server.edit("work_orders", "w2", title="Theirs")

    has_died = sync_until_death(phone, last)
    phone.restart()
    phone.sync()
    phone.sync()

    titles = {row_id: row["title"] for row_id, row in server.live("work_orders").items()}
    assert titles == {"w0": "Mine", "w2": "Theirs", "w3": "New"}, last
    assert phone.view("work_orders") == server.live("work_orders"), last
    assert len(server.applied) == 6, last
    assert len({key for key, _ in server.pushes()}) == len(set(server.pushes())) == 2, last
    status = phone.client.status()
    assert (status.pending, status.sent, status.issues, status.acked_unseen) == (0, 0, 0, 0), last
    return has_died
