"""The pages about rows and about encryption, run as they stand."""

from __future__ import annotations

import re
import sqlite3
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from phone import Phone

import fieldsync
from fieldsync.testing import FakeServer

DOCS = Path(__file__).parents[2] / "clients/python_sdk/docs"
KEY = bytes(range(32))


def examples(page: str) -> str:
    """All code of a page, as one program."""
    return "\n".join(re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL))


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, server: FakeServer, tmp_path: Path) -> Path:
    """A folder where clients reach the server in memory."""
    monkeypatch.chdir(tmp_path)
    make = fieldsync.Client

    def start(url: str, **options: Any) -> fieldsync.Client:
        return make(url, **{"http": server.client(), **options})

    monkeypatch.setattr(fieldsync, "Client", start)
    return tmp_path


def test_examples_of_rows_do_what_they_say(
    server: FakeServer, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Copied into a file, on a phone that has synced."""
    phone = Phone(server, here / "phone.db").login()
    for at in range(3):
        phone["work_orders"].create(
            {
                "title": f"Pump {at}",
                "status": "open",
                "priority": at,
                "due": f"2026-01-0{at + 1}",
                "customer": {"name": "Water Ltd"},
                "tasks": [],
            },
            id=f"w{at}",
        )
    phone.sync()
    phone.client.close()

    found: dict[str, Any] = {}
    exec(compile(examples("rows.md"), "rows.md", "exec", dont_inherit=True), found)  # noqa: S102

    assert [row.id for row in found["urgent"]] == ["w0", "w1", "w2"]
    assert len(found["late"]) == len(found["of_one"]) == found["number"] == 3
    assert found["first"].id == "w2"
    assert found["undone"].op == "update"
    assert [task.id != "" for task in found["order"].tasks] == [True, False]
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "w0 1 False Pump 0"
    assert said[-1] == "edit ['w2']"


class LockedConnection(sqlite3.Connection):
    """A database that shows nothing before it is given its key, as one that is encrypted."""

    keys: list[str] = []
    is_open = False

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if sql.startswith("PRAGMA key"):
            self.is_open = sql == f"PRAGMA key = \"x'{KEY.hex()}'\""
            self.keys.append(sql)
            return super().execute("SELECT 1")
        if not self.is_open:
            raise sqlite3.DatabaseError("file is not a database")
        return super().execute(sql, *values)


def test_example_of_encryption_opens_every_connection_with_the_key(
    server: FakeServer, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that writes, one that reads; and without the key there is no client."""

    def connect(path: str, **options: Any) -> sqlite3.Connection:
        return sqlite3.connect(path, factory=LockedConnection, **options)

    driver = types.ModuleType("sqlcipher3")
    driver.connect = connect  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sqlcipher3", driver)
    program = compile(examples("encryption.md"), "encryption.md", "exec", dont_inherit=True)
    found: dict[str, Any] = {"read_key": lambda: KEY}
    exec(program, found)  # noqa: S102
    client = found["client"]
    client.login("tess", "fieldsync")
    row_id = client.collection("notes").create({"text": "secret"})
    assert client.collection("notes").get(row_id).data == {"text": "secret"}
    client.close()
    assert len(LockedConnection.keys) == 2

    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        exec(program, {"read_key": lambda: b"wrong"})  # noqa: S102
