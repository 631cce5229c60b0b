"""For tests of apps: a server in memory that speaks the protocol, over a network with faults.

    server, clock = FakeServer(), Clock()
    client = fieldsync.Client(
        "http://server", store=tmp_path / "a.db", http=server.client(), sleep=clock.sleep
    )
    client.login("tess", server.password)
    server.faults.append(Fault.LOST_ANSWER)

The client is the real one, with a real store on the disk; only the server and the network are
not. Nothing here needs pytest.
"""

from fieldsync.testing.answers import answer, problem
from fieldsync.testing.clock import Clock
from fieldsync.testing.faults import Cut, Fault
from fieldsync.testing.rows import Row, State, refusal
from fieldsync.testing.server import FakeServer

__all__ = ["Clock", "Cut", "FakeServer", "Fault", "Row", "State", "answer", "problem", "refusal"]
