"""`manage.py check --deploy`: silent for a good configuration, and loud for each that costs data."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from django.core.checks import run_checks

from backend.devstack.folders import make_folder
from backend.devstack.postgres import SUPERUSER, OwnPostgres, start_postgres
from backend.devstack.server import ROOT
from backend.health.database_setup import judge

CHECK_S_MAX = 120


def ids(*, databases: list[str] | None = None) -> set[str]:
    found = run_checks(include_deployment_checks=True, databases=databases)
    return {str(message.id) for message in found if str(message.id).startswith("fieldsync.")}


def test_several_workers_without_redis(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.REDIS_URL = ""
    monkeypatch.setenv("WEB_CONCURRENCY", "1")
    assert "fieldsync.W001" not in ids()

    monkeypatch.setenv("WEB_CONCURRENCY", "2")

    assert "fieldsync.W001" in ids()
    settings.REDIS_URL = "redis://cache"
    assert "fieldsync.W001" not in ids()


@pytest.mark.parametrize("name", ["RECEIPT_DAYS", "TOMBSTONE_DAYS"])
def test_kept_shorter_than_phones_may_be_away(settings: Any, name: str) -> None:
    settings.SYNC = {**settings.SYNC, name: 30}
    assert "fieldsync.E001" not in ids()

    settings.SYNC = {**settings.SYNC, name: 29}

    assert "fieldsync.E001" in ids()


def test_pokes_that_no_pooler_passes_on(settings: Any) -> None:
    settings.PREPARE_STATEMENTS = False
    settings.SYNC = {**settings.SYNC, "POKE_URL": "redis://cache"}
    assert "fieldsync.E002" not in ids()

    settings.SYNC = {**settings.SYNC, "POKE_URL": "postgresql:"}

    assert "fieldsync.E002" in ids()


def test_any_host_and_a_short_key(settings: Any) -> None:
    assert not {"fieldsync.W002", "fieldsync.E003"} & ids()

    settings.ALLOWED_HOSTS = ["*"]
    settings.SYNC = {**settings.SYNC, "CURSOR_KEY": "short"}

    assert ids() >= {"fieldsync.W002", "fieldsync.E003"}


def test_more_threads_than_sessions(
    db: None, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each thread keeps one; that others may not find any is no matter of luck."""
    monkeypatch.setenv("WEB_CONCURRENCY", "2")
    settings.PREPARE_STATEMENTS = True
    assert "fieldsync.E013" not in ids(databases=["default"])

    settings.WORKER_THREADS = 200

    assert "fieldsync.E013" in ids(databases=["default"])
    settings.PREPARE_STATEMENTS = False
    assert "fieldsync.E013" not in ids(databases=["default"])


@pytest.mark.parametrize(
    ("version", "encoding", "is_unbound", "found"),
    [
        (14, "UTF8",   False, {"fieldsync.E010"}),
        (15, "LATIN1", False, {"fieldsync.E011"}),
        (15, "UTF8",   True,  {"fieldsync.W010"}),
        (15, "UTF8",   False, set()),
    ],
)  # fmt: skip
def test_databases_that_are_not_here(
    version: int, encoding: str, is_unbound: bool, found: set[str]
) -> None:
    """An old server, another encoding, a superuser: judged by what such a server would answer."""
    messages = judge(version=version, encoding=encoding, is_unbound=is_unbound)

    assert {message.id for message in messages} == found


@pytest.fixture
def durable() -> Iterator[OwnPostgres]:
    """Return a PostgreSQL as operators run it: the tests' own does not wait for the disk."""
    with ExitStack() as cleanup:
        folder = make_folder()
        cleanup.callback(folder.remove)
        postgres = start_postgres(folder=folder.path, durable=True, environ={})
        cleanup.callback(postgres.stop)
        assert isinstance(postgres, OwnPostgres)
        yield postgres


def manage(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {
        **{name: value for name, value in os.environ.items() if name in {"PATH", "LANG"}},
        "DJANGO_SETTINGS_MODULE": "backend.settings.production",
        "DATABASE_URL": url,
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "SECRET_KEY": secrets.token_urlsafe(50),
        "ALLOWED_HOSTS": "sync.example.com",
        "WEB_CONCURRENCY": "2",
    }
    return subprocess.run(  # noqa: S603  # our own
        [sys.executable, "manage.py", *arguments], cwd=ROOT, env=environ, check=False,
        timeout=CHECK_S_MAX, capture_output=True, text=True,
    )  # fmt: skip


def test_good_production_server_has_nothing_to_be_told(durable: OwnPostgres) -> None:
    """`check --deploy` is clean, warnings and all; for a superuser, with fsync off, it is not."""
    assert manage(durable.url, "migrate", "--verbosity", "0").returncode == 0
    check = ("check", "--deploy", "--database", "default", "--fail-level", "WARNING")

    clean = manage(durable.url, *check)
    admin = durable.cluster.make_url(durable.port, SUPERUSER, database="fieldsync")
    with psycopg.connect(admin, autocommit=True) as session:
        session.execute("ALTER DATABASE fieldsync SET synchronous_commit = off")
    careless = manage(admin, *check)

    assert (clean.returncode, clean.stdout) == (0, "System check identified no issues (2 silenced).\n"), clean.stderr  # fmt: skip
    assert careless.returncode == 1
    assert "fieldsync.W010" in careless.stderr
    assert "fieldsync.E012) synchronous_commit is off" in careless.stderr
