"""App: all commands, and what every command has to know: which store, which server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import platformdirs
import typer

from fieldsync.cli.commands import examine, issues, rows, syncing, work
from fieldsync.cli.run import Place
from fieldsync.client import __version__

EXITS = """Exit codes: 0 done · 1 refused, or refused work waits for you · 2 not given right ·
3 no link · 4 login needed · 5 fieldsync is too old · 6 fault of the server · 7 trouble with the
store or a file."""

app = typer.Typer(
    name="fieldsync",
    no_args_is_help=True,
    epilog=EXITS,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


Command = Callable[..., None]


def default_store() -> Path:
    """Where the store is unless told otherwise: in the folder of this user's data."""
    return platformdirs.user_data_path("fieldsync", appauthor=False) / "store.db"


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fieldsync {__version__}")
        raise typer.Exit


@app.callback()
def common(
    ctx: typer.Context,
    store: Annotated[
        Path | None,
        typer.Option(
            envvar="FIELDSYNC_STORE", help="The file that holds everything.", show_default=False
        ),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            envvar="FIELDSYNC_URL",
            help="The server's address; after a login the store knows it.",
            show_default=False,
        ),
    ] = None,
    keyring: Annotated[
        bool,
        typer.Option(
            "--keyring",
            envvar="FIELDSYNC_KEYRING",
            help="Keep the login in the system's keyring, not in the store.",
        ),
    ] = False,
    _version: Annotated[
        bool,
        typer.Option("--version", help="Say the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Work with the rows of a Fieldsync server, with or without a link to it."""
    ctx.obj = Place(store=store or default_store(), url=url, with_keyring=keyring)


PANELS: dict[str, dict[str, Command]] = {
    "Syncing": syncing.COMMANDS,
    "Rows": rows.COMMANDS,
    "Refused work": issues.COMMANDS,
    "Moving and mending": work.COMMANDS | examine.COMMANDS,
}
for panel, commands in PANELS.items():
    for name, command in commands.items():
        app.command(name, rich_help_panel=panel)(command)
