"""Command line: `fieldsync`, on the public API of the SDK. An extra: `pip install "fieldsync[cli]"`.

    app        the commands and their common options       values    field=value, and rows in JSON
    commands/  one module for each kind of command         output    tables for people, JSON for programs
    run        one command: its store, its client, its     exits     exit codes, and what to do about
               errors and its exit code                              an error

It holds no rule of sync: what a command does, an app can do with a call or two.
"""

from __future__ import annotations

import sys

EXTRA = frozenset({"typer", "rich", "platformdirs"})
USAGE = 2


def main() -> None:
    """The command `fieldsync`; without the extra it says how to get it."""
    try:
        from fieldsync.cli.app import app
    except ModuleNotFoundError as error:
        if error.name not in EXTRA:
            raise
        sys.stderr.write(
            f"The command line needs {error.name}, which is not installed.\n"
            'Install it with: pip install "fieldsync[cli]"\n'
        )
        sys.exit(USAGE)
    app()
