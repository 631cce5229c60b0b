"""What the server needs to answer requests, each looked at by itself.

database     it answers, and takes writes
migrations   it has the tables that this code was written for
feed         the streams of the tenants can be read
cache        Redis answers; without it all goes on, slower: a warning and no failure
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Final, NamedTuple

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django_redis import get_redis_connection  # type: ignore[import-untyped]
from redis.exceptions import RedisError

from sync import threads
from sync.models import Stream
from sync.row_security import every_tenant

log = logging.getLogger(__name__)

OK: Final = "ok"


class Finding(NamedTuple):
    """What was found; `says` is `ok` or what is wrong, for everybody to read."""

    name: str
    says: str
    is_needed: bool = True

    @property
    def is_ok(self) -> bool:
        """Whether nothing is wrong with it."""
        return self.says == OK


def look() -> list[Finding]:
    """Return what is found of each; a few short queries."""
    if threads.is_closing():
        return [Finding("server", "is stopping")]
    database = Finding("database", _say(_check_database))
    if not database.is_ok:
        return [
            database,
            *(Finding(name, "not known") for name in ("migrations", "feed")),
            _cache(),
        ]
    return [
        database,
        Finding("migrations", _say(_check_migrations)),
        Finding("feed", _say(_check_feed)),
        _cache(),
    ]


def _say(check: Callable[[], str]) -> str:
    try:
        with every_tenant():
            return check()
    except DatabaseError as error:
        log.warning("not ready: %s", error)
        return "does not answer"


def _check_database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_is_in_recovery()", [])
        (is_replica,) = cursor.fetchone()
    return "is a replica: it takes no writes" if is_replica else OK


def _check_migrations() -> str:
    missing = _count_missing()
    if missing:
        _count_missing.cache_clear()  # somebody may be at it
        return f"{missing} to be applied: run manage.py migrate"
    return OK


@functools.cache
def _count_missing() -> int:
    """Return how many migrations of this code the database lacks; once none, it stays so."""
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def _check_feed() -> str:
    list(Stream.objects.order_by().values_list("head")[:1])
    return OK


def _cache() -> Finding:
    if "redis" not in settings.CACHES["default"]["BACKEND"]:
        return Finding("cache", "none: each process has its own", is_needed=False)
    try:
        get_redis_connection("default").ping()
    except RedisError as error:
        log.warning("the cache is away: %s", error)
        return Finding("cache", "does not answer", is_needed=False)
    return Finding("cache", OK, is_needed=False)
