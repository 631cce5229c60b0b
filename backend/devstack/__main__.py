"""`python -m backend.devstack`: the whole of Fieldsync on this machine, with nothing to set up.

    serve [--port N] [--data DIR]     services -> migrations -> demo data -> web server -> Ctrl-C
    run [--fast] [--pooled] -- CMD …  services -> CMD with their addresses -> its exit status

Both end everything that they started, and nothing else.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from backend.devstack.errors import DevstackError, PortTaken
from backend.devstack.listeners import HOST, is_port_free
from backend.devstack.processes import Child, run_command, start_child
from backend.devstack.server import ROOT, Server, start_server
from backend.devstack.signals import Stopped, go_on, orderly_signals
from backend.devstack.stack import Stack, devstack

if TYPE_CHECKING:
    from collections.abc import Sequence

PORT = 8000
SETTINGS = "backend.settings.demo"
USAGE_STATUS = 2
NOT_FOUND_STATUS = 127  # as a shell says it
NOT_EXECUTABLE_STATUS = 126
WELCOME = """\

Fieldsync runs at {url}

  what it can do       {url}/api/docs/     (try each call in the browser)
  OpenAPI schema       {url}/api/schema/
  office               {url}/admin/        (log in as ada)

Log in with the password 'fieldsync' as
  dora (dispatcher), sam (supervisor), tess or tom (technicians), ada (admin), otto (auditor)

  curl -s {url}/api/v1/auth/token -H 'Content-Type: application/json' -d '{{
    "username": "tess", "password": "fieldsync",
    "device": {{"install_id": "{install_id}", "platform": "other",
               "app_version": "1.0"}}}}'

{keeping}
Ctrl-C stops everything.
"""
INSTALL_ID = "00000000-0000-4000-8000-000000000001"


def main(arguments: Sequence[str]) -> int:
    """Carry out the command line; the exit status."""
    own, command = _split(arguments)
    options = _make_parser().parse_args(own)
    try:
        with orderly_signals():
            if options.task == "serve":
                return _serve(port=options.port, data=options.data)
            return _run(command, durable=not options.fast, pooled=options.pooled)
    except DevstackError as error:
        _say(str(error), sys.stderr)
        return 1
    except Stopped as stop:
        return stop.exit_status


def _serve(*, port: int, data: Path | None) -> int:
    if port and not is_port_free(HOST, port):
        raise PortTaken(host=HOST, port=port)  # said before anything is started
    _say("Starting PostgreSQL and Valkey …")
    with devstack(data=data) as stack:
        environ = {"DJANGO_SETTINGS_MODULE": SETTINGS, **stack.environ}
        _prepare(stack, environ)
        server = start_server(environ=environ, log=stack.folder / "server.log", port=port)
        try:
            _say(_make_welcome(server, data))
            status = server.child.wait()
        finally:
            server.stop()
        _say(f"The web server ended by itself:\n{server.child.log_tail()}", sys.stderr)
        return status or 1


def _prepare(stack: Stack, environ: dict[str, str]) -> None:
    """Bring the tables and the demo data to where this checkout expects them."""
    for command, doing in (
        (("migrate", "--no-input"), "Making the tables …"),
        (("seed_demo",), "Filling in the demo data …"),
    ):
        _say(doing)
        run_command(
            name=f"manage.py {command[0]}",
            command=[sys.executable, ROOT / "manage.py", *command],
            environ={**os.environ, **environ},
            log=stack.folder / f"{command[0]}.log",
            cwd=ROOT,
        )


def _make_welcome(server: Server, data: Path | None) -> str:
    keeping = f"The data stays in {data}." if data else "The data goes away at the end."
    return WELCOME.format(url=server.url, keeping=keeping, install_id=INSTALL_ID)


def _run(command: Sequence[str], *, durable: bool, pooled: bool) -> int:
    if not command:
        _say("run: no command given. Usage: run [--fast] [--pooled] -- CMD …", sys.stderr)
        return USAGE_STATUS
    with devstack(durable=durable, pooled=pooled) as stack:
        try:
            child = start_child(
                name=command[0],
                command=command,
                environ={**os.environ, **stack.environ},
                in_foreground=True,
            )
        except FileNotFoundError:
            _say(f"run: no such program: {command[0]}", sys.stderr)
            return NOT_FOUND_STATUS
        except PermissionError:
            _say(f"run: may not be executed: {command[0]}", sys.stderr)
            return NOT_EXECUTABLE_STATUS
        try:
            return _wait_passing_signals(child)
        finally:
            child.stop()


def _wait_passing_signals(child: Child) -> int:
    """Wait for `child`, however often we are told to stop: it decides when it is done."""
    while True:
        try:
            go_on()
            return child.wait()
        except Stopped as stop:
            # A key pressed at the terminal has reached the child already, as one of our group.
            if stop.signum != signal.SIGINT or not _is_at_terminal():
                child.send(stop.signum)


def _is_at_terminal() -> bool:
    """Whether our process group is the one that the terminal's keys go to."""
    try:
        return os.tcgetpgrp(sys.__stdin__.fileno() if sys.__stdin__ else 0) == os.getpgrp()
    except OSError:
        return False


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Our own arguments, and the command after the first `--`."""
    given = list(arguments)
    if "--" not in given:
        return given, []
    border = given.index("--")
    return given[:border], given[border + 1 :]


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m backend.devstack",
        description="Fieldsync on this machine: PostgreSQL, Valkey and the web server, "
        "started for as long as they are needed.",
        epilog="DATABASE_URL and REDIS_URL, where set, are used instead of starting one.",
    )
    tasks = parser.add_subparsers(dest="task", required=True, metavar="serve|run")
    serve = tasks.add_parser("serve", help="the whole demo, until Ctrl-C")
    serve.add_argument(
        "--port",
        type=int,
        default=os.environ.get("PORT") or PORT,
        help=f"port on {HOST}; 0 for any free one (default: $PORT, or {PORT})",
    )
    serve.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="keep the database in this folder (default: a temporary one)",
    )
    run = tasks.add_parser(
        "run",
        help="one command that needs the services",
        usage="python -m backend.devstack run [--fast] -- CMD …",
        description="Starts PostgreSQL and Valkey, runs CMD with DATABASE_URL and REDIS_URL set, "
        "passes signals on to it, and ends with its exit status.",
    )
    run.add_argument(
        "--fast",
        action="store_true",
        help="do not wait for the disk: for tests, whose data nobody misses",
    )
    run.add_argument(
        "--pooled",
        action="store_true",
        help="put PgBouncer before PostgreSQL, with a session for each transaction",
    )
    return parser


def _say(text: str, stream: TextIO | None = None) -> None:
    print(text, file=stream or sys.stdout, flush=True)  # this is what it is for


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
