"""Command line: `fieldsync`, on the public API. An extra: `pip install "fieldsync[cli]"`.

    app        the commands, and what all of them take      options   what many commands take
    commands/  one module for each kind of command          values    field=value, rows in JSON
    run        one command: its store, its client, its      output    tables for people, JSON for
               errors and its exit code                               programs
    watch      a client that syncs by itself, live          exits     exit codes, and remedies

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
