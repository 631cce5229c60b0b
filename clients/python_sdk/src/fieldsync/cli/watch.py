"""Watch: a client that syncs by itself, and what becomes of each round.

a thread runs it · this one shows the rounds as they end, and stops it at Ctrl-C
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.live import Live
from rich.text import Text

from fieldsync.cli.exits import code_of, remedy_of
from fieldsync.cli.output import make_table, to_document
from fieldsync.client import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from fieldsync.cli.output import Output
    from fieldsync.client import Client
    from fieldsync.engine.report import Status, SyncReport
    from fieldsync.errors import FieldsyncError

    Round = tuple[datetime, SyncReport, FieldsyncError | None]

LOOK_S = 0.2  # between two looks at what has happened; Ctrl-C is not slower than this
ROUNDS_SHOWN = 12


def watch(client: Client, output: Output) -> None:
    """Sync until Ctrl-C. Raises: what ends the client for good."""
    rounds: SimpleQueue[Round] = SimpleQueue()
    with ThreadPoolExecutor(1, "fieldsync-watch") as threads:
        running = threads.submit(
            client.run_forever, lambda report, error: rounds.put((utc_now(), report, error))
        )
        try:
            if output.as_json or not output.console.is_terminal:
                _follow(running, rounds, lambda at: _write(at, client.status(), output))
            else:
                _show(running, rounds, client, output)
        except KeyboardInterrupt:
            output.tell("Stopping; what is under way is brought to its end.")
        finally:
            client.stop()
        running.result()


def _follow(
    running: Future[None], rounds: SimpleQueue[Round], tell: Callable[[Round], None]
) -> None:
    while not running.done():
        try:
            tell(rounds.get(timeout=LOOK_S))
        except Empty:
            continue


def _write(at: Round, now: Status, output: Output) -> None:
    ended_at, report, error = at
    document: dict[str, Any] = {
        "at": ended_at,
        "report": to_document(report),
        "error": None if error is None else {"code": code_of(error), "message": str(error)},
        "status": to_document(now),
    }
    if output.as_json:
        output.write_json(document, indent=0)
    else:
        output.console.print("  ".join(_cells(at)))


def _show(
    running: Future[None], rounds: SimpleQueue[Round], client: Client, output: Output
) -> None:
    shown: deque[Round] = deque(maxlen=ROUNDS_SHOWN)
    with Live(console=output.console, auto_refresh=False) as live:

        def tell(at: Round) -> None:
            shown.append(at)
            live.update(_picture(shown, client.status()), refresh=True)

        live.update(_picture(shown, client.status()), refresh=True)
        _follow(running, rounds, tell)


def _picture(shown: deque[Round], now: Status) -> Group:
    head = f"{now.username or 'nobody'} · {now.state} · {now.rows} rows · "
    head += f"{now.pending + now.sent} unsent · {now.issues} refused · Ctrl-C ends"
    return Group(
        Text(head, style="bold"),
        make_table(("At", "Sent", "Fetched", "Refused", "Trouble"), map(_cells, shown)),
    )


def _cells(at: Round) -> list[str]:
    ended_at, report, error = at
    trouble = "" if error is None else f"{error}: {remedy_of(error)}"
    return [
        f"{ended_at:%H:%M:%S}",
        f"↑{report.pushed}",
        f"↓{report.pulled}",
        f"!{report.issues}",
        trouble,
    ]
