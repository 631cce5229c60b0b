"""What a phone does with the SDK, beside the same by hand: each run is a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import Final

from loadtests.bench.cases import DeviceCase, Sizes, Task
from loadtests.bench.device import TOKEN, URL
from loadtests.bench.errors import BenchFailed
from loadtests.bench.filled import FilledTenants
from loadtests.bench.filling import total
from loadtests.bench.rounds import Run
from loadtests.bench.stage import Side, Stage

STARTS: Final = 5  # of Python, in a run
TASK_S_MAX: Final = 600.0
BY: Final = {"floor": "hand", "product": "sdk"}


class DeviceRuns:
    """Gives each process its task; the rows are those of the cases that pull."""

    def __init__(self, stage: Stage, tenants: FilledTenants, sizes: Sizes) -> None:
        self._stage = stage
        self._tenants = tenants
        self._sizes = sizes

    def run(self, side: Side, case: DeviceCase) -> Run:
        """Carry `case` out, with the SDK or by hand, both against the product's server.

        Raises:
            BenchFailed: it did not come to its end.
        """
        environ, number = dict(os.environ), STARTS
        match case.task:
            case Task.SYNC:
                filled = self._tenants.get(case.filling)
                number = total(filled.held.values()).rows
                environ |= {
                    URL: f"http://127.0.0.1:{self._stage.product.server.port}",
                    TOKEN: filled.devices[0].token,
                }
            case Task.CREATE:
                number = self._sizes.polls
            case Task.IMPORT:
                pass
        return _run(f"{BY[side.name]}-{case.task}", number, environ)


def _run(task: str, number: int, environ: dict[str, str]) -> Run:
    with tempfile.TemporaryDirectory(prefix="device-") as folder:
        done = subprocess.run(  # noqa: S603  # our own
            [sys.executable, "-m", "loadtests.bench.device", task, folder, str(number)],
            env=environ,
            check=False,
            capture_output=True,
            text=True,
            timeout=TASK_S_MAX,
        )
    if done.returncode:
        raise BenchFailed(f"{task} failed: {done.stderr[-2_000:]}")
    took = json.loads(done.stdout)
    return Run(
        units=number,
        seconds=took["seconds"],
        server_cpu_s=took["cpu_s"],
        database_cpu_s=0.0,
        foreign_cpu_s=0.0,
        peak_bytes=took["peak_bytes"],
    )
