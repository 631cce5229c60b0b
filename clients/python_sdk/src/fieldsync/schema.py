"""Schema: the tables of a device's file, as steps from one version to the next.

    0 (a new file) -> 1 -> 2 -> 3     `PRAGMA user_version` says how far a file has come

Files of every version are in the field: a step that was released is never changed, and what is new
is another step. Each is one transaction, so that a file is always of one version.
"""

from __future__ import annotations

from typing import NamedTuple


class Step(NamedTuple):
    """From one version to the next.

    `stale` selects the (collection, row_id) whose local tree has to be made anew afterwards.
    """

    script: str
    stale: str = ""

    @property
    def statements(self) -> list[str]:
        """The statements of the script, in order."""
        return [text for text in self.script.split(";\n") if text.strip()]


FIRST = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE replica (
  collection TEXT NOT NULL,
  row_id TEXT NOT NULL,
  version INTEGER NOT NULL,
  data TEXT NOT NULL,
  generation INTEGER NOT NULL,            -- the fresh pull that last saw the row
  PRIMARY KEY (collection, row_id)
) WITHOUT ROWID;
CREATE TABLE batch (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  place REAL NOT NULL UNIQUE,             -- batches are sent in this order
  key TEXT NOT NULL UNIQUE,
  body BLOB NOT NULL                      -- the exact bytes of every try
);
CREATE TABLE outbox (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  collection TEXT NOT NULL,
  row_id TEXT NOT NULL,
  revision INTEGER NOT NULL,              -- counts the row's local edits while it waits
  op TEXT NOT NULL CHECK (op IN ('create', 'update', 'delete')),
  data TEXT NOT NULL,
  base_version INTEGER,
  base TEXT,                              -- the row that the edit was made on
  groups TEXT NOT NULL,
  created_at TEXT NOT NULL,
  batch INTEGER REFERENCES batch (seq),   -- null: pending; else sent, position in the batch
  position INTEGER,
  CHECK ((batch IS NULL) = (position IS NULL))
);
CREATE UNIQUE INDEX outbox_pending ON outbox (collection, row_id) WHERE batch IS NULL;
CREATE UNIQUE INDEX outbox_sent ON outbox (collection, row_id) WHERE batch IS NOT NULL;
CREATE UNIQUE INDEX outbox_batch ON outbox (batch, position) WHERE batch IS NOT NULL;
CREATE TABLE acked (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  collection TEXT NOT NULL,
  row_id TEXT NOT NULL,
  op TEXT NOT NULL,
  data TEXT NOT NULL,
  base_version INTEGER,
  groups TEXT NOT NULL,
  version INTEGER NOT NULL,               -- seen once the row is pulled at this version or later
  basis INTEGER,                          -- the version that an edit made now may claim to know
  generation INTEGER NOT NULL             -- fresh pulls begun before the ack
);
CREATE INDEX acked_row ON acked (collection, row_id);
CREATE TABLE issue (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  collection TEXT NOT NULL,
  row_id TEXT NOT NULL,
  body TEXT NOT NULL
);
"""

LOCAL_TREE = """
CREATE TABLE local (
  collection TEXT NOT NULL,
  row_id TEXT NOT NULL,
  version INTEGER,                        -- of the server tree; null before the first pull
  data TEXT,                              -- null: not to be seen, such as a row deleted here
  is_pending INTEGER NOT NULL,            -- an edit of it has no answer yet
  PRIMARY KEY (collection, row_id)
) WITHOUT ROWID;
ANALYZE replica;
DELETE FROM sqlite_stat1 WHERE tbl = 'replica';
INSERT INTO sqlite_stat1 VALUES ('replica', 'replica', '1000000 100000 1');
ANALYZE sqlite_master;
"""  # what SQLite is told of the replica: a collection is large, so that it uses an app's indexes

ECHOED = """
CREATE TABLE echoed (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  collection TEXT NOT NULL,
  row_id TEXT NOT NULL,
  op TEXT NOT NULL,
  data TEXT NOT NULL,
  base_version INTEGER,
  groups TEXT NOT NULL,
  version INTEGER NOT NULL,               -- lost if a restored server has the row at an older one
  at TEXT NOT NULL                        -- when a pull showed it
);
CREATE INDEX echoed_row ON echoed (collection, row_id);
CREATE INDEX echoed_at ON echoed (at);
"""

STEPS = (
    Step(FIRST),
    Step(
        LOCAL_TREE,
        stale="SELECT collection, row_id FROM outbox UNION SELECT collection, row_id FROM acked",
    ),
    Step(ECHOED),
)
VERSION = len(STEPS)
