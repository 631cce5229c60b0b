"""What the devices of a push's case do, with fresh rows and keys each time; what must be there.

bodies -> settle the tables -> (push) -> count the tables
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final, LiteralString

import psycopg

from loadtests.bench import workload
from loadtests.bench.cases import PushCase
from loadtests.bench.client import Job
from loadtests.bench.errors import BenchFailed
from loadtests.bench.stage import Side, Stage, settle
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


class PushRuns:
    """Gives each device its work; `push` carries out jobs beforehand, for rows to be edited."""

    def __init__(
        self,
        stage: Stage,
        rng: random.Random,
        *,
        rows: int,
        push: Callable[[Side, Sequence[Job]], None],
    ) -> None:
        self._stage = stage
        self._rng = rng
        self._rows = rows
        self._push = push

    def make_jobs(self, side: Side, case: PushCase) -> list[Job]:
        """Return the work of a run, and bring the tables into order for it."""
        batches = max(1, self._rows // (case.clients * case.batch_rows))
        senders = side.choose_senders(case)
        jobs = [self._make_job(side, case, sender, batches) for sender in senders]
        settle(self._stage.stack)
        return jobs

    def count(self, side: Side, case: PushCase) -> tuple[int, ...]:
        """Return what is in the tables of the tenants that are pushed to."""
        tenants = list({sender.tenant for sender in side.choose_senders(case)})
        with psycopg.connect(self._stage.stack.postgres.owner_url) as connection:
            found = connection.execute(COUNT, {"tenants": tenants}).fetchone()
        return tuple(int(count or 0) for count in found or ())

    def _make_job(self, side: Side, case: PushCase, sender: Sender, batches: int) -> Job:
        ids = workload.new_ids((WARM_UP_BATCHES + batches) * case.batch_rows)
        made = workload.creates(sender, self._rng, ids=ids, batch_rows=case.batch_rows)
        if case.is_update:
            self._write(sender, made)
            made = workload.updates(self._rng, ids=ids, batch_rows=case.batch_rows)
        return Job(
            port=side.server.port,
            headers=side.make_headers(sender),
            warm_up=made[:WARM_UP_BATCHES],
            works=made[WARM_UP_BATCHES:],
        )

    def _write(self, sender: Sender, batches: Sequence[Batch]) -> None:
        """Make the rows that will be edited, by the floor for both sides: it is quicker."""
        floor = self._stage.floor
        headers = floor.make_headers(sender)
        job = Job(port=floor.server.port, headers=headers, warm_up=batches, works=[])
        self._push(floor, [job])


def batches_of(jobs: Sequence[Job]) -> list[Batch]:
    """Return all that was sent."""
    return [work for job in jobs for work in (*job.warm_up, *job.works) if isinstance(work, Batch)]


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
