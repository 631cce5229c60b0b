"""Watch: a command that goes on until somebody has seen enough."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from fieldsync.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

END_S = 30.0
COMMAND = [sys.executable, "-c", "from fieldsync.cli import main; main()"]


@pytest.fixture
def start(term: Any) -> Iterator[Any]:
    """Start a command in a process of its own."""
    started: list[subprocess.Popen[str]] = []

    def begin(*words: str, **environ: str) -> subprocess.Popen[str]:
        given = {"FIELDSYNC_STORE": str(term.store), "PYTHONPATH": os.pathsep.join(sys.path)}
        process = subprocess.Popen(  # noqa: S603  # our own command
            [*COMMAND, *words],
            env={**os.environ, **given, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def test_watch_shows_each_round_and_ends_cleanly_at_ctrl_c(
    term: Any, start: Any, server: Any
) -> None:
    """What was begun is brought to its end, and the exit code says that all is well."""
    term("new", "work_orders", "title=Pump", "--id", "w1")
    process = start("watch", "--json", "--every", "0.1")

    first = json.loads(process.stdout.readline())
    server.edit("work_orders", "w1", title="theirs")
    later = [json.loads(process.stdout.readline()) for _ in range(4)]
    process.send_signal(signal.SIGINT)
    rest, said = process.communicate(timeout=END_S)

    assert process.returncode == 0
    assert first["report"]["outcomes"] == {"created": 1}
    assert sum(each["report"]["pulled"] for each in later) == 1
    assert all(json.loads(line)["error"] is None for line in rest.splitlines())
    assert "Stopping" in said
    assert "Traceback" not in said
    assert term.json("show", "work_orders", "w1")["data"]["title"] == "theirs"


def test_watch_goes_on_through_trouble_and_says_what_it_is(
    term: Any, start: Any, server: Any
) -> None:
    """A login that is over ends nothing: the next login is heard of. Pipes get a line a round."""
    server._access.clear()
    server.refuses_refresh = True
    process = start("watch", "--every", "0.1")

    line = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=END_S)

    assert "fieldsync login NAME" in line
    assert process.returncode == 0


def test_watch_in_a_terminal_is_one_picture_that_changes(term: Any, start: Any) -> None:
    """Who is logged in, what waits, and the last rounds."""
    term("new", "work_orders", "title=Pump")
    process = start("watch", "--every", "0.1", FORCE_COLOR="1", COLUMNS="100", TERM="xterm")

    shown = ""
    while "↑1" not in shown:  # ends: so does the test, after a while
        shown += process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=END_S)

    assert "tess" in shown
    assert "Ctrl-C ends" in shown
    assert process.returncode == 0


def test_watch_with_refused_work_ends_as_any_command_does(term: Any, start: Any) -> None:
    """With exit code 1."""
    term("new", "work_orders", "title=BAD")
    process = start("watch", "--every", "0.1")

    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=END_S)

    assert process.returncode == 1


def test_command_without_its_extra_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The SDK alone is small; who types `fieldsync` is not met by a traceback."""
    for name in [name for name in sys.modules if name.startswith(("fieldsync.cli.", "typer"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "typer", None)

    with pytest.raises(SystemExit) as caught:
        main()

    assert caught.value.code == 2
    assert 'pip install "fieldsync[cli]"' in capsys.readouterr().err
