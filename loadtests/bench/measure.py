"""Carry out the cases: floor and product by turns, the same work.

    jobs -> connect, warm up -> go -> read every answer -> count the tables (after pushes)

Work that failed, or rows that are not there afterwards, end the bench.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence

from loadtests.bench.cases import AnyCase, DeviceCase, PullCase, Sizes
from loadtests.bench.client import Clients, Job
from loadtests.bench.device_runs import DeviceRuns
from loadtests.bench.filled import FilledTenants
from loadtests.bench.processes import Shares, cpu_s, machine_cpu_s
from loadtests.bench.pull_runs import PullRuns
from loadtests.bench.push_runs import PushRuns, batches_of, check_counts
from loadtests.bench.rounds import Round, Run
from loadtests.bench.stage import Side, Stage


class Bench:
    """Measures cases on one stage; `rng` makes the texts of the rows, `rows` are pushed a run."""

    def __init__(
        self, stage: Stage, clients: Clients, rng: random.Random, *, rows: int, sizes: Sizes
    ) -> None:
        self._stage = stage
        self._clients = clients
        self._pushes = PushRuns(stage, rng, rows=rows, push=self._carry_out)
        tenants = FilledTenants(stage, rng, sizes)
        self._pulls = PullRuns(tenants, sizes)
        self._devices = DeviceRuns(stage, tenants, sizes)

    def measure(self, case: AnyCase, *, rounds: int) -> Iterator[Round]:
        """Yield the rounds of `case`.

        Raises:
            BenchFailed: something was not answered as it had to be, or rows are missing.
        """
        for number in range(rounds):
            if number % 2:  # neither side always goes first
                product = self._run(self._stage.product, case)
                yield Round(floor=self._run(self._stage.floor, case), product=product)
            else:
                floor = self._run(self._stage.floor, case)
                yield Round(floor=floor, product=self._run(self._stage.product, case))

    def _run(self, side: Side, case: AnyCase) -> Run:
        if isinstance(case, PullCase):
            return self._time(side, self._pulls.make_jobs(side, case))
        if isinstance(case, DeviceCase):
            return self._devices.run(side, case)
        jobs = self._pushes.make_jobs(side, case)
        counts = self._pushes.count(side, case)
        run = self._time(side, jobs)
        check_counts(counts, self._pushes.count(side, case), batches_of(jobs))
        return run

    def _time(self, side: Side, jobs: Sequence[Job]) -> Run:
        self._prepare(side, jobs)
        before = self._cpu(side)
        seconds = self._clients.go()
        server, database, foreign = (b - a for a, b in zip(before, self._cpu(side), strict=True))
        self._clients.check()
        return Run(
            units=sum(work.units for job in jobs for work in job.works),
            seconds=seconds,
            server_cpu_s=server,
            database_cpu_s=database,
            foreign_cpu_s=max(0.0, foreign),
        )

    def _carry_out(self, side: Side, jobs: Sequence[Job]) -> None:
        self._prepare(side, jobs)
        self._clients.go()
        self._clients.check()

    def _prepare(self, side: Side, jobs: Sequence[Job]) -> None:
        shares = Shares(
            side.server.child.pid, processes=self._stage.workers, connections=len(jobs)
        )
        self._clients.prepare(jobs, is_kept=shares.is_kept)

    def _cpu(self, side: Side) -> tuple[float, float, float]:
        """Return the CPU seconds so far of the server, of PostgreSQL, and of all but the bench."""
        postgres = getattr(self._stage.stack.postgres, "pid", None)  # our own has one
        return (
            cpu_s(side.server.child.pid),
            cpu_s(postgres) if postgres else 0.0,
            machine_cpu_s() - cpu_s(os.getpid()),
        )
