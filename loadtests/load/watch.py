"""What the server and the database use while a crowd is there, sampled twice a second."""

from __future__ import annotations

import dataclasses
import threading
import time
from typing import Final, Self

from loadtests.bench.processes import cpu_s, list_tree, private_mib

EVERY_S: Final = 0.5


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One look: seconds since the start, MiB of all processes and of the largest one."""

    at_s: float
    server_mib: float
    largest_mib: float


class Watch:
    """Samples a server's processes, in a thread, for a with-block."""

    def __init__(self, pid: int) -> None:
        self.samples: list[Sample] = []
        self.cpu_s = 0.0
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._before_s = cpu_s(self._pid)
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.cpu_s = cpu_s(self._pid) - self._before_s

    def _run(self) -> None:
        while True:
            sizes = [private_mib(process) for process in list_tree(self._pid)]
            at_s = time.monotonic() - self._began
            sample = Sample(at_s=at_s, server_mib=sum(sizes), largest_mib=max(sizes, default=0))
            self.samples.append(sample)
            if self._over.wait(EVERY_S):
                return
