"""What is asked of the database at each scrape: some look-ups a tenant, however long the feeds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from django.db import connection
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from sync.conf import sync_settings
from sync.row_security import every_tenant

TENANTS_MAX: Final = 1_000  # the busiest; more series than that help nobody
SILENT_AFTER: Final = "1 day"
HERE_FOR: Final = "1 hour"  # one that was heard from since then could have read on

_TENANTS: Final = """
SELECT t.slug, s.head, s.floor,
    (SELECT count(*) FROM accounts_device AS d WHERE d.tenant_id = t.id AND d.revoked_at IS NULL),
    (SELECT count(*) FROM accounts_device AS d WHERE d.tenant_id = t.id AND d.revoked_at IS NULL
        AND d.last_seen_at < now() - %(silent)s::interval),
    (SELECT count(*) FROM accounts_device AS d WHERE d.tenant_id = t.id AND d.revoked_at IS NULL
        AND d.last_seen_at < now() - %(silent)s::interval AND d.outbox_rows > 0),
    (SELECT coalesce(max(s.head - d.read_seq), 0) FROM accounts_device AS d
        WHERE d.tenant_id = t.id AND d.revoked_at IS NULL
        AND d.last_seen_at >= now() - %(here)s::interval),
    (SELECT count(*) FROM sync_quarantine AS q WHERE q.tenant_id = t.id AND q.state = 'open')
FROM accounts_tenant AS t JOIN sync_stream AS s ON s.tenant_id = t.id
ORDER BY s.head DESC LIMIT %(tenants)s
"""
_SESSIONS: Final = """
SELECT count(*), count(*) FILTER (WHERE state = 'active'),
    coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)), 0)::float8
FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
_OVERDUE: Final = """
SELECT greatest(0, extract(epoch FROM now() - make_interval(days => %(days)s) - min(created_at)))
    ::float8 FROM sync_request
"""
_LIMIT: Final = "SELECT current_setting('max_connections')::int"


class DatabaseCollector(Collector):
    """Looks when it is asked."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the families.

        Raises:
            DatabaseError: the database does not answer.
        """
        with every_tenant():
            yield from _tenants()
            yield from _sessions()


def _tenants() -> Iterator[GaugeMetricFamily]:
    families = [
        GaugeMetricFamily(name, text, labels=["tenant"])
        for name, text in (
            ("fieldsync_feed_head", "The seq of the newest change."),
            ("fieldsync_feed_floor", "The seq up to which tombstones were pruned."),
            ("fieldsync_devices", "Devices that may log in."),
            ("fieldsync_devices_silent", "Of these, those not heard from for a day."),
            (
                "fieldsync_devices_silent_with_work",
                "Of these, those that had work to send when they were heard last.",
            ),
            (
                "fieldsync_pull_lag_changes",
                "Changes that the slowest device of the last hour was not told yet.",
            ),
            ("fieldsync_quarantine_open", "Refused mutations that wait for a supervisor."),
        )
    ]
    parameters = {"silent": SILENT_AFTER, "here": HERE_FOR, "tenants": TENANTS_MAX}
    for slug, *figures in _ask(_TENANTS, parameters):
        for family, figure in zip(families, figures, strict=True):
            family.add_metric([slug], figure)
    yield from families


def _sessions() -> Iterator[GaugeMetricFamily]:
    ((sessions, active, oldest_s),) = _ask(_SESSIONS)
    ((limit,),) = _ask(_LIMIT)
    ((overdue_s,),) = _ask(_OVERDUE, {"days": sync_settings().receipt_days})
    for name, text, figure in (
        ("fieldsync_database_sessions", "Open sessions of this database.", sessions),
        ("fieldsync_database_sessions_active", "Of these, those that are at work.", active),
        ("fieldsync_database_sessions_max", "As many as the server takes in all.", limit),
        ("fieldsync_oldest_transaction_seconds", "Age of the oldest transaction.", oldest_s),
        (
            "fieldsync_receipts_overdue_seconds",
            "For how long the oldest receipt should have been pruned.",
            overdue_s,
        ),
    ):
        yield GaugeMetricFamily(name, text, value=figure)


def _ask(sql: str, parameters: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters or {})
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found
