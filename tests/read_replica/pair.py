"""A PostgreSQL and its replica, both real, and Django's connections to them.

The rows are those of the stories; nothing here uses the test suite's own database.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import dj_database_url
import psycopg
from django.conf import settings
from django.db import connections
from django.test import override_settings

from backend.devstack.folders import make_folder
from backend.devstack.postgres import Postgres, start_postgres
from backend.devstack.processes import run_command
from backend.devstack.replica import Replica, start_replica
from backend.devstack.server import ROOT
from backend.settings.variables import REPLICA_OPTIONS
from sync import changelog
from sync.read_replica import Source
from tests.phones import Phone, World

ALIASES = ("default", "replica")
Rows = dict[tuple[str, str], tuple[int, dict[str, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The two servers."""

    primary: Postgres
    replica: Replica

    def on_primary(self, sql: str, *parameters: Any) -> None:
        """Do something past the engine."""
        with psycopg.connect(self.primary.owner_url) as session:
            session.execute(sql.encode(), parameters)


@contextmanager
def running_pair() -> Iterator[Pair]:
    """Start both, with the tables; end both with the block."""
    with ExitStack() as cleanup:
        folders = [make_folder() for _ in range(2)]
        for folder in folders:
            cleanup.callback(folder.remove)
        primary = start_postgres(folder=folders[0].path, durable=False, environ={})
        cleanup.callback(primary.stop)
        run_command(
            name="migrate",
            command=[sys.executable, "manage.py", "migrate", "--verbosity", "0"],
            environ={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "backend.settings.test",
                "DATABASE_URL": primary.url,
            },
            log=folders[0].path / "migrate.log",
            cwd=ROOT,
        )
        replica = start_replica(primary=primary, folder=folders[1].path)
        cleanup.callback(replica.stop, crash=True)
        yield Pair(primary=primary, replica=replica)


@contextmanager
def connected(primary_url: str, replica_url: str) -> Iterator[None]:
    """Let all threads of this process use these as their databases."""
    described: dict[str, Any] = connections.settings
    before = dict(described)
    own = {each.alias: each for each in connections.all(initialized_only=True)}
    for alias in own:
        del connections[alias]
    described["default"] = _describe(primary_url, {})
    described["replica"] = _describe(replica_url, REPLICA_OPTIONS)
    try:
        yield
    finally:
        for each in connections.all(initialized_only=True):
            each.close()
            del connections[each.alias]
        described.clear()
        described.update(before)
        for alias, wrapper in own.items():
            connections[alias] = wrapper


def _describe(url: str, options: dict[str, Any]) -> dict[str, Any]:
    found = dj_database_url.parse(url, conn_max_age=None)
    own = {"server_side_binding": True, "prepare_threshold": 3}
    given = {**options, **own, **found.get("OPTIONS", {})}
    described = connections.settings["default"]
    return {**described, **found, "ENGINE": described["ENGINE"], "OPTIONS": given}


def source_of(world: World) -> Source:
    """Return what a pull of this tenant would read from now."""
    stream = changelog.read_stream(world.tenant.pk)
    return Source(tenant_id=world.tenant.pk, epoch=stream.epoch, head=stream.head)


@contextmanager
def pages_read() -> Iterator[Counter[str]]:
    """Count what this thread reads from the feed, by database."""
    read: Counter[str] = Counter()

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "FROM sync_entry" in sql:
            read[context["connection"].alias] += 1
        return execute(sql, params, many, context)

    with ExitStack() as cleanup:
        for alias in ALIASES:
            cleanup.enter_context(connections[alias].execute_wrapper(note))
        yield read


def truth(phone: Phone) -> Rows:
    """Return what a new phone of the same person would hold by what the primary tells."""
    other = dataclasses.replace(phone, cursor=None, rows={})
    with override_settings(SYNC={**settings.SYNC, "REPLICA_ALIAS": ""}):
        other.pull()
    return other.rows
