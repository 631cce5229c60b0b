"""The page for people who ship apps: its examples run, one after the other."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

import fieldsync
from fieldsync.testing import FakeServer

PAGE = Path(__file__).parents[2] / "clients/python_sdk/docs/operations.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture
def names(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Any]]:
    """Return what the examples define, run where there is a store with unsent work."""
    monkeypatch.chdir(tmp_path)
    with fieldsync.Client("http://server", store="phone.db", http=server.client()) as client:
        client.login("tess", "fieldsync")
        client.collection("work_orders").create({"title": "Pump is noisy"})
    names: dict[str, Any] = {}
    for example in EXAMPLES:
        exec(compile(example, PAGE.name, "exec"), names)  # noqa: S102
    names["client"].close()  # one at a time
    yield names
    names["http"].close()


def test_copy_has_all_that_was_unsent(names: dict[str, Any], server: FakeServer) -> None:
    """And sent from both, it is done once."""
    for store in ("copy.db", "phone.db"):
        with fieldsync.Client("http://server", store=store, http=server.client()) as client:
            assert client.status().pending == 1
            client.sync()

    assert len(server.live("work_orders")) == len(server.applied) == 1


def test_every_user_has_a_file(names: dict[str, Any], tmp_path: Path) -> None:
    with names["open_store"]("tom") as client:
        assert client.status().pending == 0
    with closing(sqlite3.connect(tmp_path / "tom.db")) as store:
        assert store.execute("SELECT count(*) FROM outbox").fetchone() == (0,)


def test_log_says_what_kind_of_trouble_it_was(
    names: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    error = fieldsync.AuthRequired(code="token_expired", status=401)

    names["told"](fieldsync.SyncReport(pushed=2), error)

    assert caplog.messages[-1] == "auth (token_expired): login needed (token_expired)"


def test_connections_given_stay_open(names: dict[str, Any]) -> None:
    """They may serve other clients."""
    assert isinstance(names["http"], httpx2.Client)
    assert not names["http"].is_closed
