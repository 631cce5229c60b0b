"""One technician's device: a real SDK client, what it does offline, and a ledger of it.

    first sync -> offline: visits (new work orders with tasks, notes, parts) and edits -> reconnect

Nobody attends it: the client syncs by itself until it gets through, however bad the link is.

The ledger counts the mutations that the server must answer for: all local edits of one row before
it is sent are one mutation.
"""

from __future__ import annotations

import dataclasses
import random
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fieldsync

PASSWORD = "fieldsync"  # noqa: S105  # of the demo's users
RETRY = fieldsync.RetryPolicy(attempts_max=8, wait_s_max=30, backoff_first_s=0.05, backoff_s_max=1)
PUSH_ROWS_MAX = 100  # small batches: more chances for the link to break
TIMEOUT_S = 10.0  # the demo's black holes are short
TRIES_MAX = 60  # a device that has not got through by then never will
PART_SHARE, NOTE_SHARE = 0.3, 0.6  # of new work orders
SHARED_SHARE = 0.12  # of edits: rows that other devices edit too
ILLEGAL_SHARE = 0.02  # of edits: refused on purpose
EDITABLE = ("open", "assigned", "in_progress", "paused")
NEXT_STATUS = {
    "open": "assigned",
    "assigned": "in_progress",
    "in_progress": "paused",
    "paused": "in_progress",
}


@dataclasses.dataclass(slots=True)
class Ledger:
    """What a device did, and what it was told about it."""

    made: int = 0  # mutations, one a row between two pushes
    resolved: int = 0  # issues that became mutations again
    outcomes: Counter[str] = dataclasses.field(default_factory=Counter)
    pulled: int = 0
    batches_sent: int = 0
    batches_applied: int = 0
    replays: int = 0
    retries: int = 0
    sync_s: list[float] = dataclasses.field(default_factory=list)

    def take(self, report: fieldsync.SyncReport) -> None:
        """Add what one sync did, also one that gave up."""
        self.outcomes.update(report.outcomes)
        self.pulled += report.pulled
        self.batches_sent += report.batches_sent
        self.batches_applied += report.batches_applied
        self.replays += report.replays
        self.retries += report.retries


class Device:
    """A technician with a phone; `url` is the link that it reaches the server by."""

    def __init__(self, *, username: str, url: str, store: Path, rng: random.Random) -> None:
        self.username = username
        self.ledger = Ledger()
        self._rng = rng
        self.client = fieldsync.Client(
            url,
            store=store,
            platform="demo",
            retry=RETRY,
            timeout_s=TIMEOUT_S,
            push_rows_max=PUSH_ROWS_MAX,
            rng=random.Random(rng.random()),  # noqa: S311  # jitter
        )

    def begin(self) -> None:
        """Log in and do the first sync."""
        for tries_left in reversed(range(TRIES_MAX)):
            try:
                self.client.login(self.username, PASSWORD)
                break
            except fieldsync.Unreachable:
                if not tries_left:
                    raise
        self.sync()

    def work(self, visits: Sequence[int], shared: Sequence[str]) -> None:
        """Do the visits of the day without a network: `visits` are numbers of jobs.

        `shared` are work orders that other devices edit today as well.
        """
        sites = [row.id for row in self.client.collection("sites").all()]
        own = [
            row.id
            for row in self.client.collection("work_orders").all()
            if row.data["status"] in EDITABLE
        ]
        self._rng.shuffle(own)
        touched: set[str] = set()
        for number, jobs in enumerate(visits):
            with self.client.group(f"visit-{number}"):
                for _ in range(jobs):
                    self._record_job(self._rng.choice(sites))
            for _ in range(max(1, jobs // 2)):
                self._edit_one(own, shared, touched)

    def sync(self) -> None:
        """Let the client sync by itself until it gets through; what it did on the way counts too.

        Raises:
            fieldsync.FieldsyncError: it never did.
        """
        failures = 0

        def told(report: fieldsync.SyncReport, error: fieldsync.FieldsyncError | None) -> None:
            nonlocal failures
            self.ledger.take(report)
            if error is None:
                self.client.stop()
                return
            failures += 1
            if failures == TRIES_MAX or not isinstance(error, fieldsync.TransportFailure):
                raise error

        began = time.monotonic()
        self.client.run_forever(told)
        self.ledger.sync_s.append(time.monotonic() - began)

    def resolve_conflicts(self) -> None:
        """Look at the issues: where both edited the same field, keep mine; the rest stays open."""
        for issue in self.client.issues():
            if issue.code == "version_mismatch":
                issue.resolve(keep="mine")
                self.ledger.made += 1
                self.ledger.resolved += 1

    def _record_job(self, site: str) -> None:
        """Write down one job: the work order with its tasks, a note, a part."""
        tasks = [
            {"id": self._new_id(), "position": n, "text": f"Step {n}", "done": n == 1}
            for n in range(1, self._rng.randint(1, 3) + 1)
        ]
        order = self.client.collection("work_orders").create(
            {
                "kind": "repair",
                "site": site,
                "title": f"Job {self._rng.randrange(10_000)} of {self.username}",
                "priority": self._rng.randint(1, 5),
                "tasks": tasks,
            }
        )
        self.ledger.made += 1
        if self._rng.random() < NOTE_SHARE:
            note = {"work_order": order, "text": f"Found by {self.username}"}
            self.client.collection("notes").create(note)
            self.ledger.made += 1
        if self._rng.random() < PART_SHARE:
            quantity = f"{self._rng.randint(1, 40) / 8:.3f}"
            part = {"work_order": order, "sku": "fuse-3a", "quantity": quantity, "unit": "pc"}
            self.client.collection("parts_used").create(part)
            self.ledger.made += 1

    def _new_id(self) -> str:
        return str(uuid.UUID(int=self._rng.getrandbits(128), version=4))

    def _edit_one(self, own: list[str], shared: Sequence[str], touched: set[str]) -> None:
        is_shared = bool(shared) and self._rng.random() < SHARED_SHARE
        row_id = self._rng.choice(shared) if is_shared else (own.pop() if own else None)
        orders = self.client.collection("work_orders")
        row = orders.get(row_id) if row_id else None
        if row is None:
            return
        orders.update(row.id, self._draw_edit(row.data, is_shared=is_shared))
        if row.id not in touched:
            touched.add(row.id)
            self.ledger.made += 1

    def _draw_edit(self, data: dict[str, Any], *, is_shared: bool) -> dict[str, Any]:
        mark = f"{self.username} {self._rng.randrange(10**9)}"  # never what is there already
        if self._rng.random() < ILLEGAL_SHARE:
            return {"status": "draft"}  # no step leads back there
        if is_shared:  # some on the same field: conflicts; some on different ones: merges
            return self._rng.choice([{"title": mark}, {"description": mark}])
        choices: list[dict[str, Any]] = [{"title": mark}, {"description": mark}]
        if data["status"] in NEXT_STATUS:
            choices.append({"status": NEXT_STATUS[data["status"]]})
        task = {"id": self._new_id(), "position": 99, "text": mark, "done": False}
        choices.append({"tasks": [*data["tasks"], task]})
        return self._rng.choice(choices)
