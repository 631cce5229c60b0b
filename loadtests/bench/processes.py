"""What processes use, and how those of a server share the clients."""

from __future__ import annotations

from collections import Counter
from typing import Final

import psutil  # type: ignore[import-untyped]  # no stubs in the lock

MIB: Final = 1024 * 1024


class Shares:
    """Gives every process of a server its share of the connections, and no more.

    Processes that listen on one socket take connections as they come, and one that is quick takes
    them all: eight clients would measure one process here and two there.
    """

    def __init__(self, pid: int, *, processes: int, connections: int) -> None:
        self._pid = pid
        self._most = -(-connections // processes)
        self._taken: Counter[int] = Counter()

    def is_kept(self, client_port: int) -> bool:
        """Whether the process that holds this connection may have another one; counts it."""
        owner = self._find_owner(client_port)
        if owner is None or self._taken[owner] >= self._most:
            return False
        self._taken[owner] += 1
        return True

    def _find_owner(self, client_port: int) -> int | None:
        for process in list_tree(self._pid):
            links = process.net_connections(kind="tcp4")
            if any(link.raddr and link.raddr.port == client_port for link in links):
                return int(process.pid)
        return None


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process and its children used, those that ended too."""
    total = 0.0
    for process in list_tree(pid):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue  # its parent has its time by now
        total += times.user + times.system + times.children_user + times.children_system
    return total


def private_mib(process: psutil.Process) -> float:
    """Return what a process has of its own: what it shares with its parent counts once."""
    try:
        return float(process.memory_full_info().uss) / MIB
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0.0


def machine_cpu_s() -> float:
    """Return the CPU seconds that were used on this machine, or withheld from it, by anybody."""
    times = psutil.cpu_times()
    waited = times.idle + getattr(times, "iowait", 0.0)
    in_guests = getattr(times, "guest", 0.0) + getattr(
        times, "guest_nice", 0.0
    )  # twice in the sum
    return float(sum(times) - waited - in_guests)


def list_tree(pid: int) -> list[psutil.Process]:
    """Return a process and all below it."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]
