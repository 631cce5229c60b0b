"""The command line against the server in memory, over a real socket."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sockets import serve
from typer.testing import CliRunner

import fieldsync
from fieldsync.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Ending:
    """What a command wrote, and its exit code."""

    exit_code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


class Terminal:
    """A person, or a script, at one store."""

    def __init__(self, store: Path) -> None:
        self.store = store

    def __call__(self, *words: str, stdin: str | bytes | None = None, **environ: str) -> Ending:
        """Run a command; it may end in no exception but its own exit."""
        given = {"FIELDSYNC_STORE": str(self.store), "COLUMNS": "200", **environ}
        result = CliRunner().invoke(app, words, input=stdin, env=given)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ending(result.exit_code, result.stdout, result.stderr)

    def login(self, url: str, username: str = "tess") -> Ending:
        return self(
            "--url", url, "login", username, "--password-stdin", "--wait", "0", stdin="fieldsync\n"
        )

    def json(self, *words: str, **given: Any) -> Any:
        """The document of a command."""
        return self(*words, "--json", **given).document

    def client(self) -> fieldsync.Client:
        """An app on the same store."""
        return fieldsync.Client(store=self.store)


@pytest.fixture
def url(server: Any) -> Iterator[str]:
    with serve(server.handle) as listening:
        yield listening


@pytest.fixture
def out(tmp_path: Path) -> Terminal:
    """A terminal where nobody has logged in yet."""
    return Terminal(tmp_path / "data" / "store.db")


@pytest.fixture
def term(out: Terminal, url: str) -> Terminal:
    """A terminal where tess is logged in."""
    assert out.login(url).exit_code == 0
    return out
