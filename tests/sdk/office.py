"""Office: the server of a world, and what operators, dispatchers and people at desks do to it."""

from __future__ import annotations

import itertools

from watched import OFFICE, WatchedServer

COLLECTIONS = ("work_orders", "inspections")
ROWS = 4


class Office:
    """A server, and a number for everything that is written."""

    def __init__(self) -> None:
        self.server = WatchedServer()
        self.serial = itertools.count()
        self.backup = self.server.backup()

    def limits(self, rows_max: int, bytes_max: int, can_stream: bool) -> None:
        """The server takes smaller pushes from now on, or larger ones; and streams, or does not."""
        self.server.rows_max, self.server.bytes_max = rows_max, bytes_max
        self.server.can_stream = can_stream

    def arrive(self) -> None:
        """Requests that were late arrive."""
        self.server.deliver_late()

    def make_backup(self) -> None:
        """The server makes a backup."""
        self.backup = self.server.backup()

    def prune(self) -> None:
        """Tombstones are forgotten: older cursors are refused."""
        self.server.prune()

    def gone(self, code: str) -> None:
        """The next pull is told that its cursor is no good."""
        self.server.gone_code = code

    def office(self, what: str, row: int, collection: str) -> None:
        """Somebody at a desk edits, deletes or reassigns a row."""
        row_id = f"{collection}-{row % ROWS}"
        if row_id not in self.server.live(collection):
            return
        match what:
            case "delete":
                self.server.delete(collection, row_id)
            case "edit":
                self.server.edit(collection, row_id, office=f"o{next(self.serial)}")
            case "take over":  # a field that phones write, too
                self.server.edit(collection, row_id, a=f"o{next(self.serial)}")
            case "hide":
                self.server.hide("tess", collection, row_id)
            case _:
                self.server.show("tess", collection, row_id)
        self.server.note(OFFICE)
