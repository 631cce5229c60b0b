"""The primary dies, and the replica that takes over has not heard of the last commits."""

from __future__ import annotations

from contextlib import ExitStack

from backend.devstack.folders import make_folder
from backend.devstack.replica import start_replica
from tests.recovery.field import running_field

PHONES, ROWS = 4, 30


def test_what_the_promoted_replica_lacks_comes_back() -> None:
    """Lag, cut off, promoted: a lost tail is a restore, and phones give back what they know."""
    with running_field() as field, ExitStack() as cleanup:
        folder = make_folder()
        cleanup.callback(folder.remove)
        replica = start_replica(primary=field.postgres, folder=folder.path)
        cleanup.callback(replica.stop, crash=True)
        field.environ["DATABASE_REPLICA_URL"] = replica.url
        field.restart(field.servers[0])
        field.hire(PHONES)
        with field.crew.at_work():
            field.crew.wait_for(ROWS)
            replica.pause()  # it lags, and the primary tells what it lacks
            field.crew.wait_for(ROWS)
            replica.resume()
            field.crew.wait_for(ROWS)
            replica.cut_off()
            field.crew.wait_for(ROWS)
        field.crew.settle()
        head = "SELECT max(head) FROM sync_stream"
        before = field.query(head)

        field.stop_servers()
        field.postgres.stop(crash=True)
        replica.promote()
        field.postgres = replica
        field.environ["DATABASE_URL"] = replica.url
        assert field.query(head) < before, "a tail was lost"
        field.manage("sync_new_epoch", "--all", "--yes")
        field.start_server(field.front.ports.pop())
        field.crew.settle()

        field.prove()
