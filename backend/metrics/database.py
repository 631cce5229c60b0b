"""What is asked of the database at each scrape: some look-ups a tenant, however long the feeds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from django.db import connection
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from sync.row_security import every_tenant

TENANTS_MAX: Final = 1_000  # the busiest; more series than that help nobody
SILENT_AFTER: Final = "1 day"

_TENANTS: Final = """
SELECT t.slug, s.head, s.floor,
    (SELECT count(*) FROM accounts_device AS d WHERE d.tenant_id = t.id AND d.revoked_at IS NULL),
    (SELECT count(*) FROM accounts_device AS d WHERE d.tenant_id = t.id AND d.revoked_at IS NULL
        AND d.last_seen_at < now() - %s::interval),
    (SELECT count(*) FROM sync_quarantine AS q WHERE q.tenant_id = t.id AND q.state = 'open')
FROM accounts_tenant AS t JOIN sync_stream AS s ON s.tenant_id = t.id
ORDER BY s.head DESC LIMIT %s
"""
_SESSIONS: Final = """
SELECT count(*), count(*) FILTER (WHERE state = 'active'),
    coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)), 0)::float8
FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
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
            ("fieldsync_quarantine_open", "Refused mutations that wait for a supervisor."),
        )
    ]
    for slug, *figures in _ask(_TENANTS, [SILENT_AFTER, TENANTS_MAX]):
        for family, figure in zip(families, figures, strict=True):
            family.add_metric([slug], figure)
    yield from families


def _sessions() -> Iterator[GaugeMetricFamily]:
    ((sessions, active, oldest_s),) = _ask(_SESSIONS)
    ((limit,),) = _ask(_LIMIT)
    for name, text, figure in (
        ("fieldsync_database_sessions", "Open sessions of this database.", sessions),
        ("fieldsync_database_sessions_active", "Of these, those that are at work.", active),
        ("fieldsync_database_sessions_max", "As many as the server takes in all.", limit),
        ("fieldsync_oldest_transaction_seconds", "Age of the oldest transaction.", oldest_s),
    ):
        yield GaugeMetricFamily(name, text, value=figure)


def _ask(sql: str, parameters: list[Any] | None = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters or [])
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found
