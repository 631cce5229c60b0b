"""Our web server as a real child process, with any number of workers.

    start_server(environ=stack.environ, log=stack.folder / "server.log") -> .url, .stop(), .kill()

"Ready" is any HTTP answer, an error as well: whether the application is healthy is for its
callers to judge.
"""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from backend.devstack.listeners import HOST, Listener
from backend.devstack.processes import Child, start_child

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parents[2]  # the checkout: `backend` and `sync` are imported from here
READY_PATH = "/api/v1/sync/limits"
READY_S_MAX = 60.0  # importing everything takes about 2 s, more on a busy machine
ANSWER_S_MAX = 5.0
GRACEFUL_S_MAX = 20  # seconds for what is under way; streams end themselves at once
APPLICATION = "backend.asgi:application"
# glibc gives each busy thread a heap of its own, and none of them shrinks; two are enough for
# threads of which one runs at a time. The image and the unit start with the same.
MALLOC = {"MALLOC_ARENA_MAX": "2"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running web server."""

    url: str
    port: int
    child: Child

    def stop(self) -> None:
        """Finish open requests, then end; KILL after a bounded wait."""
        self.child.stop(grace_s=GRACEFUL_S_MAX * 2)

    def kill(self) -> None:
        """End it in the middle of whatever it does, workers too."""
        self.child.stop(signal.SIGKILL)


def start_server(  # noqa: PLR0913  # each is a separate decision of the caller
    *,
    environ: Mapping[str, str],
    log: Path,
    host: str = HOST,
    port: int = 0,
    workers: int = 1,
    application: str = APPLICATION,
    options: Sequence[str] = (),
) -> Server:
    """Start the web server and wait until it answers.

    Args:
        environ: variables laid over ours.
        log: file that takes what it prints.
        host: address to listen on.
        port: 0 for any free one.
        workers: number of worker processes.
        application: the ASGI application, as `module:name`.
        options: further options of uvicorn.

    Raises:
        PortTaken: somebody else listens on `port`.
        StartFailed: it ended or gave no answer in time.
    """
    figures = log.with_suffix(".figures")  # of all its processes; goes away with the log
    shutil.rmtree(figures, ignore_errors=True)

    def launch(chosen: int) -> Child:
        return start_child(
            name="the web server",
            command=[
                *(sys.executable, *make_arguments(application, host=host, port=chosen)),
                *("--workers", str(workers), *options),
            ],
            environ={**MALLOC, **os.environ, "PROMETHEUS_MULTIPROC_DIR": str(figures), **environ},
            log=log,
            cwd=ROOT,
        )

    def answers(chosen: int) -> bool:
        return _answers_http(host, chosen)

    listener = Listener(launch=launch, answers=answers, ready_s_max=READY_S_MAX, host=host)
    child, port = listener.start(port)
    return Server(url=f"http://{host}:{port}", port=port, child=child)


def make_arguments(application: str, *, host: str, port: int) -> list[str]:
    """What Python is given to serve `application`; the container image starts with the same.

    Without a `--workers` after it, uvicorn takes their number from WEB_CONCURRENCY.
    """
    return [
        *("-m", "uvicorn", application, "--host", host, "--port", str(port)),
        "--no-access-log",  # ours has no query in it, and says what came of a push
        *("--timeout-graceful-shutdown", str(GRACEFUL_S_MAX)),
    ]


def _answers_http(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=ANSWER_S_MAX)
    try:
        connection.request("GET", READY_PATH)
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True
