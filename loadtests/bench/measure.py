"""Carry out the cases: floor and product by turns, the same work, fresh rows and keys each time.

    bodies -> settle the tables -> connect, warm up -> go -> read every answer -> count the tables

A push that failed, or rows that are not there afterwards, end the bench.
"""

from __future__ import annotations

import dataclasses
import os
import random
from collections.abc import Iterator, Sequence
from typing import Final, LiteralString

import psycopg

from loadtests.bench import workload
from loadtests.bench.cases import Case
from loadtests.bench.client import Clients, Job
from loadtests.bench.errors import BenchFailed
from loadtests.bench.processes import Shares, cpu_s, machine_cpu_s
from loadtests.bench.stage import Side, Stage
from loadtests.bench.workload import Batch, Sender

WARM_UP_BATCHES: Final = 3  # of each client, on the connection that it then measures with

COUNT: Final[LiteralString] = """
SELECT (SELECT count(*) FROM work_order WHERE tenant_id = ANY(%(tenants)s::uuid[])),
       (SELECT sum(version) FROM work_order WHERE tenant_id = ANY(%(tenants)s::uuid[])),
       (SELECT sum(head) FROM sync_stream WHERE tenant_id = ANY(%(tenants)s::uuid[])),
       (SELECT count(*) FROM sync_change WHERE tenant_id = ANY(%(tenants)s::uuid[])),
       (SELECT count(*) FROM sync_request
        WHERE tenant_id = ANY(%(tenants)s::uuid[]) AND status = 200)
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one run of one side came to; `foreign_cpu_s` is what is not the bench's at all."""

    rows: int
    seconds: float
    server_cpu_s: float
    database_cpu_s: float
    foreign_cpu_s: float


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
            if number % 2:  # neither side always goes first
                product = self._run(self._stage.product, case, rows)
                yield Round(floor=self._run(self._stage.floor, case, rows), product=product)
            else:
                floor = self._run(self._stage.floor, case, rows)
                yield Round(floor=floor, product=self._run(self._stage.product, case, rows))

    def _run(self, side: Side, case: Case, rows: int) -> Run:
        batches = max(1, rows // (case.clients * case.batch_rows))
        senders = side.choose_senders(case)
        jobs = [self._make_job(side, case, sender, batches) for sender in senders]
        self._stage.settle()
        counts = self._count(senders)
        self._prepare(side, jobs)
        before = self._cpu(side)
        seconds = self._clients.go()
        server, database, foreign = (b - a for a, b in zip(before, self._cpu(side), strict=True))
        sent = [batch for job in jobs for batch in (*job.warm_up, *job.batches)]
        check_counts(counts, self._count(senders), sent)
        return Run(
            rows=sum(batch.rows for job in jobs for batch in job.batches),
            seconds=seconds,
            server_cpu_s=server,
            database_cpu_s=database,
            foreign_cpu_s=max(0.0, foreign),
        )

    def _make_job(self, side: Side, case: Case, sender: Sender, batches: int) -> Job:
        ids = workload.new_ids((WARM_UP_BATCHES + batches) * case.batch_rows)
        made = workload.creates(sender, self._rng, ids=ids, batch_rows=case.batch_rows)
        if case.is_update:
            self._write(sender, made)
            made = workload.updates(self._rng, ids=ids, batch_rows=case.batch_rows)
        return Job(
            port=side.server.port,
            headers=side.make_headers(sender),
            warm_up=made[:WARM_UP_BATCHES],
            batches=made[WARM_UP_BATCHES:],
        )

    def _write(self, sender: Sender, batches: Sequence[Batch]) -> None:
        """Make the rows that will be edited, by the floor for both sides: it is quicker."""
        floor = self._stage.floor
        headers = floor.make_headers(sender)
        self._prepare(
            floor, [Job(port=floor.server.port, headers=headers, warm_up=batches, batches=[])]
        )
        self._clients.go()

    def _prepare(self, side: Side, jobs: Sequence[Job]) -> None:
        shares = Shares(
            side.server.child.pid, processes=self._stage.workers, connections=len(jobs)
        )
        self._clients.prepare(jobs, is_kept=shares.is_kept)

    def _count(self, senders: Sequence[Sender]) -> tuple[int, ...]:
        tenants = list({sender.tenant for sender in senders})
        with psycopg.connect(self._stage.stack.postgres.url) as connection:
            found = connection.execute(COUNT, {"tenants": tenants}).fetchone()
        return tuple(int(count or 0) for count in found or ())

    def _cpu(self, side: Side) -> tuple[float, float, float]:
        """Return the CPU seconds so far of the server, of PostgreSQL, and of all but the bench."""
        postgres = getattr(self._stage.stack.postgres, "pid", None)  # our own has one
        return (
            cpu_s(side.server.child.pid),
            cpu_s(postgres) if postgres else 0.0,
            machine_cpu_s() - cpu_s(os.getpid()),
        )


def check_counts(before: Sequence[int], after: Sequence[int], sent: Sequence[Batch]) -> None:
    """Compare what is in the tables with what was sent.

    Raises:
        BenchFailed: something is missing, or there is too much.
    """
    rows = sum(batch.rows for batch in sent)
    new = sum(batch.rows for batch in sent if batch.version == 1)
    wanted = {"rows": new, "versions": rows, "head": rows, "changes": new, "answers": len(sent)}
    grown = (b - a for a, b in zip(before, after, strict=True))
    found = dict(zip(wanted, grown, strict=True))
    if found != wanted:
        message = f"the tables have grown by {found} instead of {wanted}"
        raise BenchFailed(message)
