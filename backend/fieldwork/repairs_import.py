"""Repair jobs become rows: territories, sites, assets and work orders of one tenant.

    group             -> a territory below the root "Wales", and the site there
    product and brand -> an asset of that site
    problem           -> a work order, due on the day of the visit

Ids follow from the file's values, so a second import of the same file changes nothing.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final

from backend.fieldwork.demo_seed import ROOT, seed_id
from backend.fieldwork.repairs import BadLine, Job
from backend.fieldwork.services import create_missing
from sync import local_edits
from sync.types import Mutation, Result, RowKey, Wire

if TYPE_CHECKING:
    from backend.accounts.models import Tenant

BATCH_JOBS: Final = 1_000  # jobs a transaction: as large as the largest push
TITLE_CHARS_MAX: Final = 200
CATEGORY_CHARS_MAX: Final = 100

# The file says how an item left the visit; who brought it takes it home in any case.
STATUSES: Final = {
    "Fixed": "done",  # approving is for a supervisor to do
    "Repairable": "paused",  # waits for a part or another visit
    "End of life": "cancelled",
    "Unknown": "open",
}


@dataclasses.dataclass(slots=True, kw_only=True)
class Progress:
    """How far an import is: jobs and rows so far, and the lines that were skipped."""

    jobs: int = 0
    created: int = 0
    kept: int = 0
    bad: list[BadLine] = dataclasses.field(default_factory=list)


class Import:
    """One import into one tenant, batch by batch; each batch is a transaction of its own."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self._made: set[RowKey] = set()  # places and assets that need no second look
        self._keys: dict[tuple[str, ...], RowKey] = {}
        self.progress = Progress()

    def run(
        self, lines: Iterable[tuple[int, Job | BadLine]], batch_jobs: int = BATCH_JOBS
    ) -> Iterator[Progress]:
        """Write the jobs; yield the progress after each batch."""
        reading = iter(lines)
        while batch := list(islice(reading, batch_jobs)):
            self._write(batch)
            yield self.progress

    def _write(self, batch: Iterable[tuple[int, Job | BadLine]]) -> None:
        line_of: dict[RowKey, int] = {}
        creates: dict[RowKey, Mutation] = {}
        for line, read in batch:
            if isinstance(read, BadLine):
                self.progress.bad.append(read)
                continue
            self.progress.jobs += 1
            for key, data in self._rows(read):
                if key not in creates and key not in self._made:
                    creates[key] = local_edits.create(key.collection, data, key.id)
                    line_of[key] = line
        filled = create_missing(self._tenant.id, creates.values())
        self.progress.created += filled.created
        self.progress.kept += filled.kept
        self._note_refused(filled.refused, line_of)
        refused = {result.mutation.key for result in filled.refused}
        self._made |= {key for key in creates.keys() - refused if key.collection != "work_orders"}

    def _note_refused(self, refused: Iterable[Result], line_of: dict[RowKey, int]) -> None:
        by_line: dict[int, str] = {}
        for result in refused:
            refusal = result.refusal
            if refusal is not None:
                errors = [f"{error.path}: {error.detail}" for error in refusal.errors]
                by_line.setdefault(
                    line_of[result.mutation.key], "; ".join(errors) or refusal.detail
                )
        self.progress.bad += [BadLine(line=n, reason=r) for n, r in sorted(by_line.items())]

    def _rows(self, job: Job) -> Iterator[tuple[RowKey, Wire]]:
        """Yield a job's work order, after all that it stands on."""
        group, product = (ROOT, job.group), (ROOT, job.group, job.product, job.brand)
        root = self._key("territories", ROOT)
        territory, site = self._key("territories", *group), self._key("sites", *group)
        asset, order = self._key("assets", *product), self._key("work_orders", job.id)
        yield root, {"name": ROOT, "parent": None}
        yield territory, {"name": job.group, "parent": root.id}
        yield site, {"name": job.group, "territory": territory.id}
        yield asset, _asset(job, site.id)
        yield order, _work_order(job, site.id, asset.id)

    def _key(self, collection: str, *names: str) -> RowKey:
        """Return a row's key; most names come again and again, and hashing them is not free."""
        key = self._keys.get((collection, *names))
        if key is None:
            key = RowKey(collection, str(seed_id(self._tenant.slug, collection, *names)))
            if collection != "work_orders":
                self._keys[collection, *names] = key
        return key


def _asset(job: Job, site: str) -> Wire:
    return {
        "site": site,
        "category": job.product[:CATEGORY_CHARS_MAX],
        "brand": "" if job.brand == "Unknown" else job.brand,
    }


def _work_order(job: Job, site: str, asset: str) -> Wire:
    at = dt.datetime.combine(job.date, dt.time(16), tzinfo=dt.UTC)  # when a visit ends
    is_fixed = job.status == "Fixed"
    return {
        "kind": "repair",
        "status": STATUSES[job.status],
        "site": site,
        "asset": asset,
        "title": (job.problem or f"{job.product}: no description")[:TITLE_CHARS_MAX],
        "description": f"{job.product}, {job.brand}. {job.problem}".strip(),
        "due_at": at.isoformat(),
        "completed_at": at.isoformat() if is_fixed else None,
    }
