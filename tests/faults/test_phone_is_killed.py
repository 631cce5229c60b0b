"""The SDK's process is killed at every moment of a sync with a real server, and starts again."""

from __future__ import annotations

import signal
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import fieldsync
from backend.devstack.server import ROOT
from backend.fieldwork.demo_seed import PASSWORD
from sync.failpoints import Point
from tests.faults.dying_phone import PUSH_ROWS_MAX, Moment
from tests.faults.rig import SITE, Rig

COLLECTIONS = ("sites", "assets", "work_orders", "notes")
LIFE_S_MAX = 60.0
MUTATIONS = 6  # of `day`
BATCHES = 4  # two edits, the delete, the visit, the note
Rows = dict[tuple[str, str], tuple[int | None, dict[str, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """A phone with a day's work that is not sent yet. All titles begin with `mark`."""

    rig: Rig
    store: Path
    mark: str
    head: int
    receipts: int

    def start(self, moment: Moment | None = None, times: int = 1) -> subprocess.Popen[bytes]:
        """Start the phone's process, which dies at `moment`."""
        module = [sys.executable, "-m", "tests.faults.dying_phone", self.rig.server.url]
        arguments = [str(self.store), moment or "", str(times)]
        return subprocess.Popen([*module, *arguments], cwd=ROOT)  # noqa: S603  # our own

    def titles(self) -> dict[str, int]:
        """The titles of its work orders on the server, with their versions."""
        found = self.rig.query(
            "SELECT title, version FROM work_order WHERE title LIKE %s", [f"{self.mark}%"]
        )
        return {title.removeprefix(self.mark): version for title, version in found}


def phone_on(rig: Rig, store: Path) -> fieldsync.Client:
    return fieldsync.Client(rig.server.url, store=store, push_rows_max=PUSH_ROWS_MAX)


def replica(client: fieldsync.Client) -> Rows:
    return {
        (name, row.id): (row.version, row.data)
        for name in COLLECTIONS
        for row in client.collection(name).all()
    }


def count_receipts(rig: Rig) -> int:
    ((number,),) = rig.query("SELECT count(*) FROM sync_request")
    return int(number)


@pytest.fixture
def day(rig: Rig, tmp_path: Path) -> Day:
    """Three known work orders: one is edited, one gets a task, one is deleted; three notes are new."""
    mark, store = f"{uuid.uuid4()} ", tmp_path / "phone.db"
    order: dict[str, Any] = {"kind": "repair", "site": SITE}
    with phone_on(rig, store) as phone:
        phone.login("dora", PASSWORD)
        phone.sync()
        orders, notes = phone.collection("work_orders"), phone.collection("notes")
        known = [orders.create({**order, "title": f"{mark}{name}"}) for name in "abcd"]
        phone.sync()
        with phone_on(rig, tmp_path / "office.db") as office:
            office.login("dora", PASSWORD)
            office.sync()
            office.collection("work_orders").update(known[3], {"title": f"{mark}theirs"})
            office.sync()
        head, receipts = rig.head(), count_receipts(rig)
        orders.update(known[0], {"title": f"{mark}edited"})
        orders.update(known[1], {"tasks": [{"id": str(uuid.uuid4()), "position": 0, "text": "x"}]})
        orders.delete(known[2])
        with phone.group("visit"):
            new = orders.create({**order, "title": f"{mark}new"})
            notes.create({"work_order": new, "text": "rust"})
        notes.create({"work_order": known[0], "text": "paint"})
    return Day(rig=rig, store=store, mark=mark, head=head, receipts=receipts)


def check(day: Day, tmp_path: Path) -> None:
    """Start again on the same store: all is there once, and the replica is a fresh one's."""
    with phone_on(day.rig, day.store) as phone:
        phone.sync()
        status = phone.status()
        assert (status.pending, status.sent, status.acked_unseen, status.issues) == (0, 0, 0, 0)
        with phone_on(day.rig, tmp_path / "fresh.db") as fresh:
            fresh.login("dora", PASSWORD)
            fresh.sync()
            assert replica(phone) == replica(fresh)
    assert day.titles() == {"edited": 2, "b": 2, "theirs": 2, "new": 1}
    assert day.rig.head() == day.head + MUTATIONS
    assert count_receipts(day.rig) == day.receipts + BATCHES


def test_phone_that_lives_is_done(day: Day, tmp_path: Path) -> None:
    """The process of these tests does what they count on when it is not killed."""
    assert day.start().wait(LIFE_S_MAX) == 0

    check(day, tmp_path)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("moment", Moment)
def test_phone_killed_at_any_moment_loses_and_doubles_nothing(
    day: Day, tmp_path: Path, moment: Moment, times: int
) -> None:
    """In the first batch or page and in the second; whatever the disk holds then is enough."""
    assert day.start(moment, times).wait(LIFE_S_MAX) == -signal.SIGKILL

    check(day, tmp_path)


@pytest.mark.parametrize("point", [Point.RECEIVED, Point.LOGGED, Point.COMMITTED])
def test_phone_killed_while_the_server_is_at_it(day: Day, tmp_path: Path, point: Point) -> None:
    """Its request has been sent: it may be carried out or not, and the same one again settles it."""
    catch = day.rig.control.catch(point)
    process = day.start()
    caught = catch.wait()

    process.kill()
    assert process.wait(LIFE_S_MAX) == -signal.SIGKILL
    caught.let_go()

    check(day, tmp_path)
