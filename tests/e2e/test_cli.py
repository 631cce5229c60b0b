"""The installed command against the server: what a person at a terminal gets."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from rest_framework_simplejwt.tokens import AccessToken

from backend.accounts.models import Device
from backend.fieldwork.models import WorkOrder
from sync.clock import utc_now

COMMAND = Path(sys.executable).parent / "fieldsync"
COMMAND_S = 60.0
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(seeded: None, live_server: Any, tmp_path: Path) -> Run:
    """Run the installed command on a store where tess is logged in."""
    environ = {
        **os.environ,
        "FIELDSYNC_STORE": str(tmp_path / "phone.db"),
        "NO_PROXY": "*",
    }

    def call(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603  # our own command
            [COMMAND, *words],
            env=environ,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_S,
        )

    ended = call(
        "--url", live_server.url, "login", "tess", "--password-stdin", stdin="fieldsync\n"
    )
    assert ended.returncode == 0, ended.stderr
    return call


def document(ended: subprocess.CompletedProcess[str]) -> Any:
    assert ended.stderr == ""
    return json.loads(ended.stdout)


def findings(run: Run) -> tuple[int, list[str]]:
    ended = run("doctor", "--json")
    found = document(ended)["findings"]
    return ended.returncode, [each["check"] for each in found if each["level"] != "ok"]


def test_day_at_a_terminal(run: Run) -> None:
    """Log in, sync, look, make, edit, sync: and it is on the server."""
    synced = document(run("sync", "--json"))
    assert synced["status"]["rows"] == synced["report"]["pulled"] > 0
    (site,) = document(run("ls", "sites", "--limit", "1", "--json"))["rows"]

    made = document(
        run("new", "work_orders", "kind=repair", f"site={site['id']}", "title=Pump", "--json")
    )
    run("edit", "work_orders", made["id"], "priority=1")
    assert run("sync").returncode == 0

    row = WorkOrder.objects.get(pk=made["id"])
    assert (row.title, row.priority) == ("Pump", 1)
    shown = document(run("show", "work_orders", made["id"], "--json"))
    assert shown["data"]["number"] == row.number
    assert findings(run) == (0, [])


def test_refused_work_is_seen_and_settled(run: Run) -> None:
    """What the server says about each field is on the screen."""
    run("sync")
    (site,) = document(run("ls", "sites", "--limit", "1", "--json"))["rows"]
    run("new", "work_orders", "kind=repair", f"site={site['id']}", f"title={'x' * 9_999}")

    assert run("sync").returncode == 1
    listed = run("issues")
    assert listed.returncode == 1
    assert "title: " in listed.stdout
    (issue,) = document(run("issues", "--json"))["issues"]
    assert run("resolve", str(issue["id"]), "--keep", "title=Pump").returncode == 0
    assert run("sync").returncode == 0
    assert WorkOrder.objects.filter(pk=issue["row_id"], title="Pump").exists()


def test_doctor_finds_a_row_that_was_altered_by_hand(run: Run, tmp_path: Path) -> None:
    """Somebody has "repaired" the store with another program."""
    run("sync")
    assert findings(run) == (0, [])
    with closing(sqlite3.connect(tmp_path / "phone.db")) as connection, connection:
        changed = connection.execute(
            'UPDATE replica SET data = replace(data, \'"title":"\', \'"title":"No \')'
            " WHERE collection = 'work_orders'"
        ).rowcount
    assert changed

    ended = run("doctor")

    assert ended.returncode == 7
    assert "differ from the server's: work_orders" in ended.stdout
    assert run("sync", "--verify").returncode == 0
    assert findings(run) == (0, [])


def test_doctor_knows_when_a_pull_is_due(run: Run) -> None:
    """Before the first one, and when the office has done something."""
    assert findings(run) == (1, ["rows"])
    run("sync")
    order = WorkOrder.objects.get(
        pk=document(run("ls", "work_orders", "--limit", "1", "--json"))["rows"][0]["id"]
    )
    order.title = "changed in the office"
    order.save()

    ended = run("doctor")

    assert ended.returncode == 1
    assert "pull first" in ended.stdout


def test_doctor_says_that_the_office_has_locked_the_device(run: Run) -> None:
    """A new password would not help."""
    run("sync")
    Device.objects.update(revoked_at=utc_now())

    ended = run("doctor")

    assert ended.returncode == 4
    assert "device_revoked" in ended.stdout
    assert "only the office can change that" in ended.stdout
    assert run("sync").returncode == 4


def test_doctor_refreshes_an_access_token_that_is_over(
    run: Run, live_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is no trouble, and the next command needs no second refresh."""
    import datetime as dt

    with monkeypatch.context() as patch:
        patch.setattr(AccessToken, "lifetime", dt.timedelta(seconds=-60))
        run("--url", live_server.url, "login", "tess", "--password-stdin", stdin="fieldsync\n")
    run("sync")

    assert findings(run) == (0, [])


def test_work_of_a_broken_tablet_goes_on_at_another(
    run: Run, live_server: Any, tmp_path: Path
) -> None:
    """Nothing lost, nothing doubled, by a file on a stick."""
    run("sync")
    (site,) = document(run("ls", "sites", "--limit", "1", "--json"))["rows"]
    made = document(
        run("new", "work_orders", "kind=repair", f"site={site['id']}", "title=Pump", "--json")
    )
    file = str(tmp_path / "work")
    assert run("export", file, "--passphrase-stdin", stdin="secret\n").returncode == 0

    other = ("--store", str(tmp_path / "other.db"))
    run(*other, "--url", live_server.url, "login", "tess", "--password-stdin", stdin="fieldsync\n")
    taken = document(run(*other, "import", file, "--passphrase-stdin", "--json", stdin="secret\n"))
    assert taken["pending"] == 1
    assert run(*other, "sync").returncode == 0
    assert run("sync").returncode == 0

    assert WorkOrder.objects.get(pk=made["id"]).version == 1
    assert document(run("issues", "--json")) == {"issues": []}


def test_watch_hears_what_the_office_does(run: Run, tmp_path: Path) -> None:
    """Until Ctrl-C, which is no failure."""
    run("sync")
    order = document(run("ls", "work_orders", "--limit", "1", "--json"))["rows"][0]["id"]
    environ = {**os.environ, "FIELDSYNC_STORE": str(tmp_path / "phone.db"), "NO_PROXY": "*"}
    with subprocess.Popen(  # noqa: S603  # our own command
        [COMMAND, "watch", "--json", "--every", "0.2"],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        row = WorkOrder.objects.get(pk=order)
        row.title = "changed in the office"
        row.save()
        while not json.loads(process.stdout.readline())["report"]["pulled"]:
            pass  # ends: so does the test, after a while
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=COMMAND_S)

    assert process.returncode == 0
    shown = document(run("show", "work_orders", order, "--json"))
    assert shown["data"]["title"] == "changed in the office"
