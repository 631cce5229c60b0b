"""Work: what waits on the store, for the server or for a person."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from fieldsync.doctor.finding import Area, Check, Finding

if TYPE_CHECKING:
    from datetime import datetime

    from fieldsync.engine.report import Status

OUTBOX = Check(name="unsent work", area=Area.WORK)
ISSUES = Check(name="refused work", area=Area.WORK)
AGE_MAX = timedelta(days=2)  # a weekend out of reach is normal


def check_work(status: Status, now: datetime) -> list[Finding]:
    """What waits, and since when."""
    return [_check_outbox(status, now), _check_issues(status)]


def _check_outbox(status: Status, now: datetime) -> Finding:
    oldest = status.oldest_unsent_at
    if oldest is None:
        return OUTBOX.ok("none")
    parts = f"{status.pending + status.sent} edits"
    if status.sent:
        parts += f", {status.sent} of them sent and not answered"
    age = now - oldest
    if age > AGE_MAX:
        return OUTBOX.warning(
            f"{parts}; the oldest has waited for {age.days} days",
            "fieldsync sync; where there is no link, fieldsync export FILE saves a copy",
        )
    return OUTBOX.ok(parts)


def _check_issues(status: Status) -> Finding:
    if status.issues:
        return ISSUES.warning(
            f"{status.issues} edits were refused and wait for a decision", "fieldsync issues"
        )
    return ISSUES.ok("none")
