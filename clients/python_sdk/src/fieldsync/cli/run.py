"""Run: one command, from its store to its exit code. Every error ends here, in words.

with running(ctx, as_json=...) as run:
    with run.client() as client:
        ...
        run.output.show(document, table)
    run.exit_code = Exit.REFUSED
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from fieldsync.cli.exits import Exit, Refusal, code_of, exit_of, remedy_of
from fieldsync.cli.output import Output
from fieldsync.client import POLL_S, Client, __version__
from fieldsync.errors import FieldsyncError
from fieldsync.retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fieldsync.tokens import TokenStore

PLATFORM = "cli"
WAIT_S = 60.0  # for a link, before a command gives up


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which store and which server a command is about."""

    store: Path
    url: str | None
    with_keyring: bool

    @property
    def tokens(self) -> TokenStore | None:
        """Where tokens are kept, if not in the store. Raises: Refusal without the extra."""
        if not self.with_keyring:
            return None
        from fieldsync.tokens import KeyringTokens

        try:
            return KeyringTokens()
        except ModuleNotFoundError as error:
            raise Refusal(
                Exit.USAGE,
                "keyring_missing",
                "the package keyring is not installed",
                'pip install "fieldsync[keyring]"',
            ) from error


class Run:
    """One command under way."""

    def __init__(self, place: Place, output: Output) -> None:
        self.place = place
        self.output = output
        self.exit_code = Exit.OK

    @contextmanager
    def client(
        self, *, is_new: bool = False, wait_s: float = WAIT_S, poll_s: float = POLL_S
    ) -> Iterator[Client]:
        """The client of the store, which must be there unless `is_new`. Raises: Refusal."""
        path = self.place.store
        if is_new:
            path.parent.mkdir(parents=True, exist_ok=True)
        elif not path.exists():
            raise Refusal(
                Exit.LOGIN,
                "store_missing",
                f"there is no store at {path}",
                "fieldsync --url https://your.server login NAME makes one",
            )
        with Client(
            self.place.url,
            store=path,
            platform=PLATFORM,
            app_version=__version__,
            tokens=self.place.tokens,
            retry=RetryPolicy(wait_s_max=wait_s),
            poll_s=poll_s,
        ) as client:
            yield client

    def fail(self, error: Exception) -> None:
        """Say what went wrong and what to do about it."""
        self.exit_code = exit_of(error)
        message, remedy = str(error), remedy_of(error)
        if self.output.as_json:
            told: dict[str, Any] = {
                "code": code_of(error),
                "message": message,
                "remedy": remedy,
                "exit_code": int(self.exit_code),
            }
            self.output.write_json({"error": told})
            return
        self.output.tell(f"{message[:1].upper()}{message[1:]}", "red")
        if remedy:
            self.output.tell(f"  {remedy}")


@contextmanager
def running(ctx: typer.Context, *, as_json: bool) -> Iterator[Run]:
    """One command; leaves with its exit code."""
    run = Run(ctx.obj, Output(as_json=as_json))
    try:
        yield run
    except (Refusal, FieldsyncError, sqlite3.Error, OSError, ValueError) as error:
        run.fail(error)
    raise typer.Exit(run.exit_code)
