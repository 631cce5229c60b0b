"""Carry out the cases: floor and product by turns, the same work, fresh rows and keys each time.

    prepare (bodies, warm-up) -> go -> check every answer -> count what is in the tables

A push that failed, or rows that are not there afterwards, end the bench.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator, Sequence
from typing import Final

import psutil  # type: ignore[import-untyped]  # no stubs in the lock
import psycopg

from loadtests.bench import workload
from loadtests.bench.cases import Case
from loadtests.bench.client import BenchFailed, Clients, Job
from loadtests.bench.floor import PATH
from loadtests.bench.stage import Side, Stage
from loadtests.bench.workload import Batch, Sender

WARM_UP_BATCHES: Final = 2  # of each client, on the connection that it then measures with

COUNT: Final = """
SELECT (SELECT count(*) FROM work_order WHERE tenant_id = ANY(%(tenants)s::uuid[])),
       (SELECT coalesce(sum(version), 0) FROM work_order
        WHERE tenant_id = ANY(%(tenants)s::uuid[])),
       (SELECT sum(head) FROM sync_stream WHERE tenant_id = ANY(%(tenants)s::uuid[])),
       (SELECT count(*) FROM sync_change WHERE tenant_id = ANY(%(tenants)s::uuid[])),
       (SELECT count(*) FROM sync_request
        WHERE tenant_id = ANY(%(tenants)s::uuid[]) AND status = 200)
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one run of one side came to."""

    rows: int
    seconds: float
    server_cpu_s: float
    database_cpu_s: float

    @property
    def rows_per_s(self) -> float:
        """Throughput, as all clients together saw it."""
        return self.rows / self.seconds


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """The same work on both sides, one right after the other."""

    floor: Run
    product: Run


class Bench:
    """Measures cases on one stage; `rng` makes the texts of the rows."""

    def __init__(self, stage: Stage, clients: Clients, rng: random.Random) -> None:
        self._stage = stage
        self._clients = clients
        self._rng = rng

    def measure(self, case: Case, *, rows: int, rounds: int) -> Iterator[Round]:
        """Yield the rounds of `case`, about `rows` rows each on each side.

        Raises:
            BenchFailed: a push was not answered as it had to be, or rows are missing.
        """
        for number in range(rounds):
            sides = [self._stage.floor, self._stage.product]
            sides = sides if number % 2 else sides[::-1]  # neither always goes first
            runs = {side.name: self._run(side, case, rows) for side in sides}
            yield Round(floor=runs["floor"], product=runs["product"])

    def _run(self, side: Side, case: Case, rows: int) -> Run:
        batches = max(1, rows // (case.clients * case.batch_rows))
        senders = choose_senders(side, case)
        jobs = [self._job(side, case, sender, batches) for sender in senders]
        before = self._count(senders)
        self._clients.prepare(jobs)
        cpu = self._cpu(side)
        seconds = self._clients.go()
        server_cpu, database_cpu = (b - a for a, b in zip(cpu, self._cpu(side), strict=True))
        sent = [batch for job in jobs for batch in (*job.warm_up, *job.batches)]
        check_counts(before, self._count(senders), sent)
        return Run(
            rows=sum(batch.rows for job in jobs for batch in job.batches),
            seconds=seconds,
            server_cpu_s=server_cpu,
            database_cpu_s=database_cpu,
        )

    def _job(self, side: Side, case: Case, sender: Sender, batches: int) -> Job:
        ids = workload.new_ids((WARM_UP_BATCHES + batches) * case.batch_rows)
        made = workload.creates(sender, self._rng, ids=ids, batch_rows=case.batch_rows)
        if case.is_update:
            floor = self._stage.floor
            self._clients.prepare([_job(floor, sender, made, [])])
            self._clients.go()
            made = workload.updates(self._rng, ids=ids, batch_rows=case.batch_rows)
        return _job(side, sender, made[:WARM_UP_BATCHES], made[WARM_UP_BATCHES:])

    def _count(self, senders: Sequence[Sender]) -> tuple[int, ...]:
        tenants = "{%s}" % ",".join({sender.tenant for sender in senders})
        with psycopg.connect(self._stage.stack.postgres.url) as connection:
            found = connection.execute(COUNT, {"tenants": tenants}).fetchone()
        return tuple(int(count) for count in found or ())

    def _cpu(self, side: Side) -> tuple[float, float]:
        postgres = getattr(self._stage.stack.postgres, "pid", None)
        return cpu_s(side.server.child.pid), cpu_s(postgres) if postgres else 0.0


def choose_senders(side: Side, case: Case) -> list[Sender]:
    """Return the devices that push: the first of each tenant, or all of the first tenant."""
    if case.is_spread:
        return [devices[0] for devices in side.senders[: case.clients]]
    return list(side.senders[0][: case.clients])


def check_counts(before: Sequence[int], after: Sequence[int], batches: Sequence[Batch]) -> None:
    """Compare what is in the tables with what was sent.

    Raises:
        BenchFailed: something is missing, or there is too much.
    """
    rows = sum(batch.rows for batch in batches)
    new = sum(batch.rows for batch in batches if batch.outcome == "created")
    wanted = dict(rows=new, versions=rows, head=rows, changes=new, answers=len(batches))
    found = {name: b - a for name, a, b in zip(wanted, before, after, strict=True)}
    if found != wanted:
        message = f"the tables have grown by {found} instead of {wanted}"
        raise BenchFailed(message)


def cpu_s(pid: int) -> float:
    """Return the CPU seconds used by a process and its children, those that ended too."""
    process = psutil.Process(pid)
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        try:
            times = each.cpu_times()
        except psutil.NoSuchProcess:
            continue  # its parent has its time by now
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _job(side: Side, sender: Sender, warm_up: list[Batch], batches: list[Batch]) -> Job:
    return Job(
        port=side.server.port,
        path=PATH,
        headers=side.make_headers(sender),
        warm_up=warm_up,
        batches=batches,
    )
