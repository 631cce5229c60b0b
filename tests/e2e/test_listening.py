"""A client that syncs by itself, on a real server and real sockets."""

from __future__ import annotations

import threading
from queue import SimpleQueue

import fieldsync
from backend.devstack.server import Server
from tests.e2e.conftest import Make


def test_stop_wakes_whoever_listens(phone: Make, server: Server) -> None:
    """An app that is closed does not wait for the server's next word."""
    tess = phone("tess", url=server.url)
    rounds: SimpleQueue[fieldsync.SyncReport] = SimpleQueue()
    worker = threading.Thread(target=tess.run_forever, args=(lambda *told: rounds.put(told[0]),))
    worker.start()
    for _ in range(2):  # the one at the start, and one for the poke that says: you are heard
        rounds.get(timeout=30)

    tess.stop()
    worker.join(30)

    assert not worker.is_alive()
    assert not [each for each in threading.enumerate() if each.name == "fieldsync-listener"]
