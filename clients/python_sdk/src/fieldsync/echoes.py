"""Echoes: applied edits that a pull has shown, kept for a while in case the server forgets them.

    acked --pulled--> echoed --KEPT_DAYS--> nothing
                        `- the server was restored, and a fresh pull lacks it --> pending again

A backup does not know what came after it; the device that sent it does. Works inside the caller's
transaction; called by the engine only.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from fieldsync.outbox import Ack
from fieldsync.trees import parse_edit

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from fieldsync.connections import Writer

    Name = tuple[str, str]  # collection, id

KEPT = timedelta(days=7)  # as old as a backup may be: few restore an older one

COLUMNS = "collection, row_id, op, data, base_version, groups, version"
# A row is lost when the fresh pull has not brought it, or not as new as it was, or at that version
# with other values: others have made it since. A deletion, when the row is there again. (What only
# looks otherwise, as the server writes it in its own way, is `unchanged` to it.)
LOST = """
SELECT e.seq, e.collection, e.row_id, e.version, e.op, e.data, e.base_version, e.groups
  FROM echoed AS e LEFT JOIN replica AS r
    ON (r.collection, r.row_id) = (e.collection, e.row_id) AND r.generation = ?
 WHERE CASE e.op WHEN 'delete' THEN r.version < e.version
       ELSE r.version IS NULL OR r.version < e.version OR r.version = e.version AND EXISTS (
           SELECT 1 FROM json_each(e.data) AS own
            WHERE (SELECT value FROM json_each(r.data) WHERE key = own.key) IS NOT own.value) END
 ORDER BY e.seq
"""


class Echoes:
    """The table of what was applied and shown."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def keep(self, collection: str, row_id: str, *, up_to: int, now: datetime) -> None:
        """Keep the row's acks that a pull has shown, up to a version."""
        self._copy("version <= ?", (collection, row_id, up_to), now)

    def keep_delete(self, collection: str, row_id: str, *, version: int, now: datetime) -> None:
        """Keep the deletion of a row that is gone, and was dropped, if it was ours."""
        self._copy("op = 'delete' AND version = ?", (collection, row_id, version), now)

    def _copy(self, which: str, values: tuple[str, str, int], now: datetime) -> None:
        self._writer.execute(
            f"INSERT INTO echoed ({COLUMNS}, at) SELECT {COLUMNS}, ? FROM acked"  # noqa: S608  # constants
            f" WHERE collection = ? AND row_id = ? AND {which} ORDER BY seq",
            (now.isoformat(), *values),
        )

    def drop(self, names: Iterable[Name]) -> None:
        """Forget what is of these rows: they are not ours any more."""
        for name in names:
            self._writer.execute("DELETE FROM echoed WHERE collection = ? AND row_id = ?", name)

    def keep_collections(self, collections: Sequence[str]) -> None:
        """Forget what is of all other collections: no pull shows them any more."""
        marks = ", ".join("?" * len(collections))
        self._writer.execute(
            f"DELETE FROM echoed WHERE collection NOT IN ({marks})",  # noqa: S608  # question marks
            tuple(collections),
        )

    def prune(self, now: datetime) -> None:
        """Forget what is too old."""
        self._writer.execute("DELETE FROM echoed WHERE at < ?", ((now - KEPT).isoformat(),))

    def take_lost(self, generation: int) -> list[Ack]:
        """Remove and return what the fresh pull that is now complete lacks, oldest first."""
        acks = []
        for seq, collection, row_id, version, *parts in self._writer.execute(LOST, (generation,)):
            self._writer.execute("DELETE FROM echoed WHERE seq = ?", (seq,))
            edit = parse_edit(*parts)
            acks.append(
                Ack(
                    collection=collection,
                    row_id=row_id,
                    edit=edit,
                    version=version,
                    basis=None,
                )
            )
        return acks
