"""`python -m tests.faults.campaign.pruning TIMES`: a process that prunes what is a moment old.

Beside traffic, as an operator's would be, but sooner: what devices have not read yet goes too.
"""

from __future__ import annotations

import os
import sys
import time

import django
import psycopg

PAUSE_S = 0.3


def main(times: int) -> None:
    """Prune all tenants so often, and vacuum the tables behind it."""
    from sync import tombstones, transactions
    from sync.clock import utc_now
    from tests.faults.campaign import server_bugs

    if os.environ.get("PLANTED_BUG"):
        server_bugs.BUGS[os.environ["PLANTED_BUG"]].plant()
    for _ in range(times):
        for old in transactions.run(lambda _: list(tombstones.list_old(utc_now()))):
            transactions.run(lambda _, old=old: tombstones.prune(old, 1_000))  # type: ignore[misc]
        with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as session:
            session.execute("SET role fieldsync_owner")
            session.execute("VACUUM sync_change, sync_entry, sync_stream")
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    django.setup()
    main(int(sys.argv[1]))
