"""`/livez` and `/readyz`: what watchers, load balancers and people ask, and are told."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client, override_settings

from backend.devstack.valkey import start_valkey
from backend.health import checks
from sync import threads


@pytest.fixture(autouse=True)
def fresh() -> None:
    checks._count_missing.cache_clear()


def ask(path: str = "/readyz", **headers: str) -> Any:
    return Client().get(path, headers=headers)


def test_ready_server_says_a_line_for_each_thing(db: None) -> None:
    answer = ask()

    assert answer.status_code == 200
    assert answer["Cache-Control"] == "no-store"
    assert answer.json() == {
        "status": "ok",
        "checks": {
            "database": "ok",
            "migrations": "ok",
            "feed": "ok",
            "cache": "none: each process has its own",
        },
    }


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_watchers_need_no_host_name_no_https_and_no_login(db: None, path: str) -> None:
    """They come by an address of the container, behind no proxy."""
    with override_settings(SECURE_SSL_REDIRECT=True, ALLOWED_HOSTS=["sync.example.com"]):
        assert ask(path, Host="10.0.0.7:8000").status_code == 200


def test_watching_costs_few_queries(db: None, django_assert_max_num_queries: Any) -> None:
    ask()
    with django_assert_max_num_queries(2):
        ask()


def test_missing_table_is_no_reason_to_send_phones_here(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM django_migrations WHERE app = 'fieldwork' AND name LIKE '0004%'"
        )

    answer = ask()

    assert answer.status_code == 503
    assert answer.json()["status"] == "failing"
    assert answer.json()["checks"]["migrations"] == "1 to be applied: run manage.py migrate"
    assert answer.json()["checks"]["database"] == "ok"


def test_database_that_is_away_is_said_and_nothing_else_of_it(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> str:
        raise OperationalError("connection to server at 10.0.0.9, user fieldsync, failed")

    monkeypatch.setattr(checks, "_check_database", refuse)

    answer = ask()

    assert answer.status_code == 503
    assert answer.json()["checks"]["database"] == "does not answer"
    assert answer.json()["checks"]["feed"] == "not known"
    assert b"10.0.0.9" not in answer.content
    assert ask("/livez").status_code == 200, "a restart would not bring it back"


def test_cache_that_is_away_is_told_and_stops_nobody(db: None, tmp_path: Any) -> None:
    valkey = start_valkey(folder=tmp_path, environ={})
    caches = {
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": valkey.url,
            "OPTIONS": {"SOCKET_CONNECT_TIMEOUT": 1, "SOCKET_TIMEOUT": 1},
        }
    }
    try:
        with override_settings(CACHES=caches):
            assert ask().json()["checks"]["cache"] == "ok"
            valkey.stop()
            answer = ask()
    finally:
        valkey.stop()

    assert answer.status_code == 200
    assert answer.json()["checks"]["cache"] == "does not answer"


def test_server_that_stops_gets_no_more_requests(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A load balancer sees it before the socket is closed."""
    monkeypatch.setattr(threads, "is_closing", lambda: True)

    answer = ask()

    assert (answer.status_code, answer.json()["checks"]) == (503, {"server": "is stopping"})
