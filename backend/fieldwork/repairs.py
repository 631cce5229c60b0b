"""Real repair jobs as data: read from an open-data file, or generated in the same shape. Pure.

    CSV --read_lines--> Job or why a line is none      --visits--> one list for each (group, date)
    seed --generate_jobs--> Job

The columns are those of the Open Repair Alliance's aggregate files. One group on one day is one
visit: a median of 3 items, and a long tail up to 48.
"""

from __future__ import annotations

import csv
import dataclasses
import datetime as dt
import random
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

FIELDS: Final = {  # of Job -> column of the file
    "id": "id",
    "group": "group_identifier",
    "date": "event_date",
    "product": "product_category",
    "brand": "brand",
    "status": "repair_status",
    "problem": "problem",
}
REQUIRED: Final = ("id", "group", "date", "product")
OUTCOMES: Final = ("Fixed", "Repairable", "End of life", "Unknown")

VISIT_ITEMS_MAX: Final = 48
VISIT_ITEMS_LOG_MEAN: Final = 1.1  # the log of a median of 3
VISIT_ITEMS_LOG_DEVIATION: Final = 1.04  # makes the mean 5.2, as in the file
GROUPS: Final = 60
FIRST_DAY: Final = dt.date(2017, 4, 1)
PRODUCTS: Final = ("Vacuum", "Lamp", "Power tool", "Portable radio", "Sewing machine", "Toaster")
BRANDS: Final = ("Unknown", "Dyson", "Bosch", "Kenwood", "Sony", "Roberts", "Singer")
PROBLEMS: Final = ("Not working.", "No power.", "Blown fuse", "Loose cable", "Makes a noise", "")
OUTCOME_WEIGHTS: Final = (52, 19, 20, 9)  # percent, as in the file


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One item that somebody brought to be repaired."""

    id: str
    group: str
    date: dt.date
    product: str
    brand: str
    status: str
    problem: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BadLine:
    """A line of the file that is no job, and why."""

    line: int
    reason: str


class NotRepairs(Exception):
    """The file lacks columns that repair data has."""

    def __init__(self, missing: Iterable[str]) -> None:
        super().__init__(f"The file has no column {', '.join(sorted(missing))}.")


def read_jobs(path: Path | str) -> Iterator[Job]:
    """Yield the jobs of a file, without the lines that are none.

    Raises:
        NotRepairs: columns are missing.
    """
    for _, read in read_lines(path):
        if isinstance(read, Job):
            yield read


def read_lines(path: Path | str) -> Iterator[tuple[int, Job | BadLine]]:
    """Yield each job with the number of the line that it ends on, or what is wrong there.

    Reads as it goes: a file of any size takes the same memory.

    Raises:
        NotRepairs: columns are missing.
    """
    with Path(path).open(newline="", encoding="utf-8-sig", errors="replace") as file:
        rows = csv.DictReader(file)
        missing = set(FIELDS.values()) - set(rows.fieldnames or ())
        if missing:
            raise NotRepairs(missing)
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                yield rows.line_num, BadLine(line=rows.line_num, reason=str(error))
                continue
            try:
                yield rows.line_num, parse_job(row)
            except ValueError as error:
                yield rows.line_num, BadLine(line=rows.line_num, reason=str(error))


def parse_job(row: Mapping[str, str | None]) -> Job:
    """Return the job in one row of the file.

    Raises:
        ValueError: saying what is wrong with it.
    """
    texts = {name: (row.get(column) or "").strip() for name, column in FIELDS.items()}
    for name in REQUIRED:
        if not texts[name]:
            problem = f"{FIELDS[name]} is empty"
            raise ValueError(problem)
    if texts["status"] not in OUTCOMES:
        problem = f"{FIELDS['status']} is {texts['status']!r}, not one of {', '.join(OUTCOMES)}"
        raise ValueError(problem)
    return Job(
        id=texts["id"],
        group=texts["group"],
        date=dt.date.fromisoformat(texts["date"]),
        product=texts["product"],
        brand=texts["brand"],
        status=texts["status"],
        problem=texts["problem"],
    )


def generate_jobs(count: int, seed: int) -> Iterator[Job]:
    """Yield `count` made-up jobs, visit by visit; the same for the same seed."""
    rng = random.Random(seed)  # noqa: S311  # load, not secrets
    made = 0
    visit = 0
    while made < count:
        group = f"Group {visit % GROUPS + 1:02d}"
        date = FIRST_DAY + dt.timedelta(weeks=visit // GROUPS)
        size = rng.lognormvariate(VISIT_ITEMS_LOG_MEAN, VISIT_ITEMS_LOG_DEVIATION)
        items = min(max(1, round(size)), VISIT_ITEMS_MAX, count - made)
        for _ in range(items):
            made += 1
            yield _generate_job(rng, f"generated_{seed}_{made}", group, date)
        visit += 1


def visits(jobs: Iterable[Job]) -> list[list[Job]]:
    """Return the jobs by (group, date), in order of date and then of group."""
    found: dict[tuple[dt.date, str], list[Job]] = {}
    for job in jobs:
        found.setdefault((job.date, job.group), []).append(job)
    return [found[key] for key in sorted(found)]


def _generate_job(rng: random.Random, job_id: str, group: str, date: dt.date) -> Job:
    return Job(
        id=job_id,
        group=group,
        date=date,
        product=rng.choice(PRODUCTS),
        brand=rng.choice(BRANDS),
        status=rng.choices(OUTCOMES, OUTCOME_WEIGHTS)[0],
        problem=rng.choice(PROBLEMS),
    )
