"""How much memory a server takes, as Linux tells it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from backend.devstack.server import Server

MIB = 1024 * 1024

only_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells the peak of another process"
)


def memory_bytes(server: Server, what: str) -> int:
    """Return the server's memory, now (`VmRSS`) or at its highest (`VmHWM`)."""
    status = Path(f"/proc/{server.child.pid}/status").read_text()
    found = re.search(rf"{what}:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024


def forget_peak(server: Server) -> int:
    """Let the server's highest begin anew; return what it takes now."""
    Path(f"/proc/{server.child.pid}/clear_refs").write_text("5")
    return memory_bytes(server, "VmRSS")
