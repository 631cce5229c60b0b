"""What came of every row: lost, doubled, or there once. Asked of the tables, past the server."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import psycopg

from loadtests.load.plan import Told

# A device's rows are told apart by their titles; an id twice would be refused by the key.
_FOUND: Final = "SELECT id::text FROM work_order WHERE title LIKE 'load %'"
_DOUBLED: Final = """
SELECT count(*) FROM (
    SELECT title FROM work_order WHERE title LIKE 'load %' GROUP BY title HAVING count(*) > 1
) AS twice
"""
_FEED: Final = "SELECT count(*), count(DISTINCT (tenant_id, seq)) FROM sync_change"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The counts; a run is good when all but the first three are zero."""

    sent: int
    acked: int
    statuses: dict[str, int]
    lost: int
    doubled: int
    uncalled: int  # rows that are there, and nobody was told so
    refused: int
    gave_up: int
    server_errors: int  # 5xx other than 503
    without_retry_after: int
    seqs_twice: int

    @property
    def faults(self) -> dict[str, int]:
        """What must not be, and is."""
        kept = ("sent", "acked", "statuses")
        counts = {n: v for n, v in dataclasses.asdict(self).items() if n not in kept}
        return {name: value for name, value in counts.items() if value}


def judge(told: Sequence[Told], database_url: str) -> Verdict:
    """Compare what devices were told with what the tables hold."""
    acked = {row_id for each in told for row_id in each.acked}
    statuses: Counter[str] = Counter()
    for each in told:
        statuses.update(each.statuses)
    with psycopg.connect(database_url) as session:
        found = {row_id for (row_id,) in session.execute(_FOUND)}
        (doubled,) = _only(session.execute(_DOUBLED))
        changes, seqs = _only(session.execute(_FEED))
    return Verdict(
        sent=sum(len(each.sent) for each in told),
        acked=len(acked),
        statuses=dict(sorted(statuses.items())),
        lost=len(acked - found),
        doubled=doubled,
        uncalled=len(found - acked),
        refused=sum(sum(each.refused.values()) for each in told),
        gave_up=sum(bool(each.gave_up) for each in told),
        server_errors=sum(
            count for status, count in statuses.items() if status >= "500" and status != "503"
        ),
        without_retry_after=sum(each.without_retry_after for each in told),
        seqs_twice=changes - seqs,
    )


def _only(cursor: psycopg.Cursor[Any]) -> tuple[Any, ...]:
    found = cursor.fetchone()
    assert found is not None  # noqa: S101  # a count
    return tuple(found)
