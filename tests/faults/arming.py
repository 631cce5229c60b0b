"""Arms the failpoints of a server process; imported once Django is set up."""

from __future__ import annotations

import os

from django.db import connection

from sync.testing.remote_failpoints import ask_at_every_point


def arm_failpoints() -> None:
    """Have every failpoint ask the test at FAILPOINT_CONTROL, as host:port."""
    ask_at_every_point(os.environ["FAILPOINT_CONTROL"], database_process=_database_process)


def _database_process() -> int:
    """Return the process id of this thread's database session."""
    driver = connection.connection
    return driver.info.backend_pid if driver and not driver.closed else 0
