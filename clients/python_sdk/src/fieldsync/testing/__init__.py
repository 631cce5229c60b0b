"""For tests of apps: a server in memory that speaks the protocol, over a network with faults.

server = FakeServer()
client = fieldsync.Client("http://server", store=tmp_path / "a.db", http=server.client())
server.faults.append(Fault.LOST_ANSWER)
"""

from fieldsync.testing.answers import answer, problem
from fieldsync.testing.faults import Cut, Fault
from fieldsync.testing.rows import Row, State
from fieldsync.testing.server import FakeServer

__all__ = ["Cut", "FakeServer", "Fault", "Row", "State", "answer", "problem"]
