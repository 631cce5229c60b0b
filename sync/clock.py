"""The one place that reads the clock; everything else takes `now` as an argument."""

from __future__ import annotations

import datetime


def utc_now() -> datetime.datetime:
    """Return the time, aware, in UTC."""
    return datetime.datetime.now(datetime.UTC)


def render_time(at: datetime.datetime) -> str:
    """Return `at` as RFC 3339 in UTC, with `Z`."""
    return at.astimezone(datetime.UTC).isoformat().replace("+00:00", "Z")
