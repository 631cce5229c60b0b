"""A kiosk in a store room: whoever takes a part scans the work order and the part.

    FIELDSYNC_PASSWORD=… python kiosk.py http://127.0.0.1:8000 kiosk.db --user tess < /dev/scanner

A scan is a line: `WO-000123 fuse-3a 2`. It is on the disk before the next one is read, and is sent
when there is a network; nobody attends it. It may be switched off at any time.

Exit status, for whatever starts it again: 0 stopped by a signal · 2 wrong command line · 3 the
login is refused, a person must look · 4 the server wants a newer program · 5 no network to log
in with, try again later · 6 another kiosk runs on this store.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

import fieldsync

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

STOPPED, LOGIN_REFUSED, TOO_OLD, NO_NETWORK, ALREADY_RUNNING = 0, 3, 4, 5, 6
FEW_TRIES = fieldsync.RetryPolicy(attempts_max=3)  # `run_forever` tries again, later each time
log = logging.getLogger("kiosk")


class Kiosk:
    """One store room."""

    def __init__(self, client: fieldsync.Client, username: str, password: str) -> None:
        self._client = client
        self._username = username
        self._password = password

    def run(self, scans: Iterable[str]) -> int:
        """Record scans and sync until a signal comes; the exit status."""
        if self._client.status().username is None:
            self._log_in()
        self._client.on_change(self._hear)
        threading.Thread(target=self._read, args=(scans,), daemon=True).start()
        self._client.run_forever(self._told)
        log.info("stopped with %d rows unsent", self._client.status().unsent)
        return STOPPED

    def _log_in(self) -> None:
        self._client.login(self._username, self._password)

    def _read(self, scans: Iterable[str]) -> None:
        for line in scans:
            if line.strip():
                self._record(line)

    def _record(self, line: str) -> None:
        number, sku, quantity = (*line.split(), "1")[:3]
        order = self._client.collection("work_orders").first(number=number)
        if order is None:
            log.warning("no work order %s: scan it again", number)
            return
        part = {"work_order": order.id, "sku": sku, "quantity": quantity, "unit": "pc"}
        row_id = self._client.collection("parts_used").create(part)
        log.info("recorded %s x %s for %s as %s", quantity, sku, number, row_id)

    def _hear(self, change: fieldsync.RowsChanged) -> None:
        if change.by is fieldsync.Cause.ISSUE:
            for issue in self._client.issues():
                log.warning("refused, the office must look: %s %s", issue, issue.mine)

    def _told(self, report: fieldsync.SyncReport, error: fieldsync.FieldsyncError | None) -> None:
        """After each round: say what happened; stop where waiting does not help."""
        if report.pushed or report.pulled:
            log.info("sent %d, received %d", report.pushed, report.pulled)
        match error:
            case fieldsync.AuthRequired():
                self._log_in()  # the session was too long ago; if that is refused, it ends this
            case fieldsync.UpgradeRequired():
                raise error  # waiting does not help
            case None:
                pass
            case _:
                log.info("%s; unsent: %d", error, self._client.status().unsent)


def exit_status(error: fieldsync.FieldsyncError) -> int:
    """What a supervisor has to know of an error that ended it."""
    match error:
        case fieldsync.AuthRequired():
            return LOGIN_REFUSED
        case fieldsync.UpgradeRequired():
            return TOO_OLD
        case fieldsync.StoreInUse():
            return ALREADY_RUNNING
        case _:
            return NO_NETWORK


def main(arguments: Sequence[str]) -> int:
    """Carry out the command line; the exit status."""
    parser = argparse.ArgumentParser(description="Record parts taken from a store room.")
    parser.add_argument("url")
    parser.add_argument("store")
    parser.add_argument("--user", required=True)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line a request is too much
    password = os.environ.get("FIELDSYNC_PASSWORD", "")
    try:
        with fieldsync.Client(
            options.url, store=options.store, platform="kiosk", retry=FEW_TRIES
        ) as client:
            for signum in (signal.SIGTERM, signal.SIGINT):
                signal.signal(signum, lambda _signum, _frame: client.stop())
            return Kiosk(client, options.user, password).run(sys.stdin)
    except fieldsync.FieldsyncError as error:
        log.warning("ended: %s", error)
        return exit_status(error)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
