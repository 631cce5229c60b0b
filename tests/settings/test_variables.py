"""Environment variables: how they are read, and what a start with bad ones says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import MISSING
from pathlib import Path
from typing import TypeAlias

import pytest
from django.conf import settings
from django.test import override_settings

from backend.settings.base import env as settings_env
from backend.settings.variables import (
    BY_NAME,
    DATABASE_OPTIONS,
    REPLICA_OPTIONS,
    Reader,
    SettingsInvalid,
    Stage,
    render_table,
)
from sync.checks import check_replica
from sync.conf import SyncSettings

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "settings.md"
GOOD = {
    "DATABASE_URL": "postgresql://u:p@127.0.0.1:1/x",
    "SECRET_KEY": "qT5Yb0-3fVx8LrJ2mW9cKd7HsN4gAzEuP6oRiXvBtCyQ1hMwDk",
    "ALLOWED_HOSTS": "sync.example.com",
}


def start(stage: str, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `command` as an operator does, with no variables but these."""
    kept = {name: value for name, value in os.environ.items() if name not in BY_NAME}
    environ = {**kept, "DJANGO_SETTINGS_MODULE": f"backend.settings.{stage}", **variables}
    return subprocess.run(  # noqa: S603  # our own program
        [sys.executable, *command],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    "command", [("manage.py", "check"), ("-c", "import backend.asgi")], ids=["manage", "server"]
)
def test_start_names_all_bad_variables_at_once(command: tuple[str, ...]) -> None:
    """One start, one list: nobody should find the third mistake on the third try."""
    bad = {"DATABASE_URL": "mysql://u:hush@h/x", "WORKER_THREADS": "many", "LOG_LEVEL": "loud"}

    done = start("production", *command, **{**GOOD, **bad})

    assert done.returncode == 1
    for name in bad:
        assert done.stderr.count(f"\n  {name} ") == 1
        assert BY_NAME[name].remedy in done.stderr
    assert "SECRET_KEY" not in done.stderr
    assert "PostgreSQL" in done.stderr
    assert "Traceback" not in done.stderr
    assert "hush" not in done.stderr


@pytest.mark.parametrize("stage", ["demo", "test"])
def test_try_out_without_a_database_names_the_way_to_one(stage: str) -> None:
    """Who just cloned it has no PostgreSQL: the message must lead to the one we bring."""
    done = start(stage, "manage.py", "check")

    assert done.returncode == 1
    assert "DATABASE_URL is not set" in done.stderr
    assert "`make serve`" in done.stderr
    assert "`make test`" in done.stderr
    assert "SECRET_KEY" not in done.stderr
    assert "Traceback" not in done.stderr


def test_production_asks_for_what_must_be_secret() -> None:
    """A default secret in production is everybody's secret."""
    done = start("production", "manage.py", "check")

    for name in GOOD:
        assert f"{name} is not set" in done.stderr


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SECRET_KEY", "short",       "has 5 characters, and needs 50"),
        ("SECRET_KEY", "ab" * 30,     "is a placeholder"),
        ("DEBUG",      "true",        "is on"),
    ],
)  # fmt: skip
def test_production_refuses_what_only_a_try_out_may_have(
    name: str, value: str, words: str
) -> None:
    """The same value may pass in the demo; here it would be a hole."""
    done = start("production", "-c", "import backend.settings.production", **{**GOOD, name: value})

    assert done.returncode == 1
    assert f"{name} {words}" in done.stderr


def test_good_production_variables_pass_the_deployment_check() -> None:
    """Without a warning: whoever runs it should not have to judge which ones matter."""
    done = start("production", "-W", "error", "manage.py", "check", "--deploy", **GOOD)

    assert "no issues" in done.stdout, done.stderr


def test_good_production_variables_start_the_server() -> None:
    """As uvicorn does: from nothing, in a process where nothing has set Django up."""
    done = start("production", "-W", "error", "-c", "import backend.asgi", **GOOD)

    assert (done.returncode, done.stderr) == (0, "")


Read: TypeAlias = Callable[[Reader, str], object]


def _database_name(reader: Reader, name: str) -> object:
    return reader.database(name).get("NAME")


TAKEN: list[tuple[str, str, Read, object]] = [
    ("DEBUG",                "On",                     lambda r, n: r.flag(n),                            True),
    ("DEBUG",                "0",                      lambda r, n: r.flag(n),                            False),
    ("DEBUG",                "",                       lambda r, n: r.flag(n),                            False),
    ("WORKER_THREADS",       "256",                    lambda r, n: r.number(n, minimum=1, maximum=256),  256),
    ("WORKER_THREADS",       " ",                      lambda r, n: r.number(n, minimum=1, maximum=256),  8),
    ("LOG_LEVEL",            "debug",                  lambda r, n: r.choice(n, ("DEBUG",)),              "DEBUG"),
    ("ALLOWED_HOSTS",        "a, b,,",                 lambda r, n: r.names(n),                           ["a", "b"]),
    ("REDIS_URL",            "",                       lambda r, n: r.url(n, schemes=("redis",)),         ""),
    ("REDIS_URL",            "redis://h/0",            lambda r, n: r.url(n, schemes=("redis",)),         "redis://h/0"),
    ("CSRF_TRUSTED_ORIGINS", "https://a",              lambda r, n: r.names(n, prefixes=("https://",)),   ["https://a"]),
    ("DATABASE_URL",         "postgres://u:p@h:1/x",   _database_name,                                    "x"),
    ("DATABASE_URL",         "postgresql://%2Ftmp/x",  _database_name,                                    "x"),
    ("DATABASE_REPLICA_URL", "postgresql://h/x",       _database_name,                                    "x"),
    ("DATABASE_REPLICA_URL", "",                       lambda r, n: r.database(n),                        {}),
]  # fmt: skip
REFUSED: list[tuple[str, str, Read]] = [
    ("DEBUG",                "maybe",                  lambda r, n: r.flag(n)),
    ("WORKER_THREADS",       "0",                      lambda r, n: r.number(n, minimum=1, maximum=256)),
    ("WORKER_THREADS",       "257",                    lambda r, n: r.number(n, minimum=1, maximum=256)),
    ("WORKER_THREADS",       "1.5",                    lambda r, n: r.number(n, minimum=1, maximum=256)),
    ("LOG_LEVEL",            "loud",                   lambda r, n: r.choice(n, ("DEBUG",))),
    ("ALLOWED_HOSTS",        "",                       lambda r, n: r.names(n)),
    ("REDIS_URL",            "localhost:6379",         lambda r, n: r.url(n, schemes=("redis",))),
    ("REDIS_URL",            "redis",                  lambda r, n: r.url(n, schemes=("redis",))),
    ("CSRF_TRUSTED_ORIGINS", "https://a,b",            lambda r, n: r.names(n, prefixes=("https://",))),
    ("DATABASE_URL",         "sqlite:///x",            _database_name),
    ("DATABASE_URL",         "postgresql://h",         _database_name),
    ("DATABASE_URL",         "postgresql://u:p@h:q/x", _database_name),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "read", "value"), TAKEN)
def test_reader_takes(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, read: Read, value: object
) -> None:
    """Good values, and the defaults for what is set to nothing."""
    monkeypatch.setenv(name, text)
    reader = Reader()

    found = read(reader, name)

    assert found == value
    reader.seal()


@pytest.mark.parametrize(("name", "text", "read"), REFUSED)
def test_reader_refuses(monkeypatch: pytest.MonkeyPatch, name: str, text: str, read: Read) -> None:
    """Bad values, only at the end, and with the way out."""
    monkeypatch.setenv(name, text)
    reader = Reader()

    read(reader, name)

    with pytest.raises(SettingsInvalid, match=re.escape(BY_NAME[name].remedy)):
        reader.seal()


def test_database_url_that_cannot_be_read_is_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A password with an unescaped `/` ends up in the parser's own message."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:hush/hush@h/x")
    reader = Reader()

    reader.database("DATABASE_URL")

    with pytest.raises(SettingsInvalid, match="cannot be read as a URL") as stop:
        reader.seal()
    assert "hush" not in str(stop.value)


def test_secret_can_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Containers get their secrets so, and not in variables that every child process sees."""
    (tmp_path / "key").write_text(GOOD["SECRET_KEY"] + "\n")
    monkeypatch.delenv("SECRET_KEY", raising=False)
    monkeypatch.setenv("SECRET_KEY_FILE", str(tmp_path / "key"))
    reader = Reader()

    assert reader.secret("SECRET_KEY", Stage.PRODUCTION) == GOOD["SECRET_KEY"]
    reader.seal()


def test_missing_secret_file_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one of the list, and not as a crash."""
    monkeypatch.setenv("SECRET_KEY_FILE", "/nowhere/key")
    reader = Reader()

    reader.secret("SECRET_KEY", Stage.PRODUCTION)

    with pytest.raises(SettingsInvalid, match="SECRET_KEY_FILE"):
        reader.seal()


def test_every_variable_of_the_table_is_read() -> None:
    """A variable that nothing reads is a promise that nobody keeps."""
    assert settings_env.names_read == set(BY_NAME)


def test_docs_have_the_table_of_variables() -> None:
    """Word by word: `render_table()` gives the new text to paste."""
    assert render_table() in DOCS.read_text()


def test_docs_have_the_settings_of_the_sync_app() -> None:
    """Both ways: none missing, none invented, and the defaults are those of the code."""
    section = DOCS.read_text().partition("## The `SYNC` dictionary")[2]
    rows = re.findall(r"^\| `([A-Z_]+)` \| ([^|]+) \| (.+) \|$", section, re.MULTILINE)
    defaults = {
        name.upper(): str(field.default)
        for name, field in SyncSettings.__dataclass_fields__.items()
        if field.default not in ("", MISSING)
    }

    documented = {name: default.replace(",", "") for name, default, _ in rows}

    assert documented.keys() == {name.upper() for name in SyncSettings.__dataclass_fields__}
    assert documented.items() >= defaults.items()


def test_times_are_utc() -> None:
    """Whatever the machine is set to: times on the wire are UTC."""
    assert settings.USE_TZ
    assert settings.TIME_ZONE == "UTC"


def test_connections_are_kept_and_checked() -> None:
    """A new connection costs more than most requests; a stale one fails one."""
    database = settings.DATABASES["default"]

    assert database["ENGINE"] == "backend.postgres"
    assert database["CONN_MAX_AGE"] is None
    assert database["CONN_HEALTH_CHECKS"] is True


def test_replica_is_read_only_and_answers_soon_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The primary can answer as well; nothing is ever to be written there."""
    monkeypatch.setenv("DATABASE_REPLICA_URL", "postgresql://h/x?tcp_user_timeout=9000")

    options = Reader().database("DATABASE_REPLICA_URL", REPLICA_OPTIONS)["OPTIONS"]

    assert options["connect_timeout"] < DATABASE_OPTIONS["connect_timeout"]
    assert options["tcp_user_timeout"] == 9_000
    for setting in (
        "default_transaction_read_only=on",
        "statement_timeout=10s",
        "session_timeout",
    ):
        assert setting in options["options"]


SHOW = """
import django
django.setup()
from django.conf import settings
from django.core.checks import run_checks
from sync.conf import sync_settings
described = settings.DATABASES.get("replica", {})
print(sorted(settings.DATABASES), repr(sync_settings().replica_alias), described.get("TEST", {}).get("MIRROR"),
    described.get("OPTIONS", {}).get("server_side_binding"), run_checks())
"""


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("",                   "['default'] '' None None []"),
        ("postgresql://h/x",   "['default', 'replica'] 'replica' default True []"),
    ],
)  # fmt: skip
def test_replica_is_there_when_it_is_named(url: str, shown: str) -> None:
    """By one variable; and a test run needs no second database for it."""
    done = start("production", "-c", SHOW, **{**GOOD, "DATABASE_REPLICA_URL": url})

    assert done.stdout.strip() == shown, done.stderr


@pytest.mark.parametrize("alias", ["nowhere", "default"])
def test_replica_that_is_none_is_found_at_the_start(alias: str) -> None:
    """A typing error would be a 500 at the first pull; the primary is no replica of itself."""
    with override_settings(SYNC={**settings.SYNC, "REPLICA_ALIAS": alias}):
        (found,) = check_replica()

    assert found.id == "sync.E005"
    assert alias in found.msg


def test_no_wait_for_the_database_is_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that vanished would hold every thread; a frozen worker would hold its tenant."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://h/x?connect_timeout=2")

    options = Reader().database("DATABASE_URL")["OPTIONS"]

    assert options.keys() >= {"connect_timeout", "keepalives_idle", "tcp_user_timeout"}
    assert options["connect_timeout"] == 2
    assert "idle_in_transaction_session_timeout=60s" in options["options"]
