"""The SDK's examples as programs of their own, on a real server: typed at, killed, started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backend.accounts.models import User
from backend.devstack.server import Server
from backend.fieldwork.models import Inspection, PartUsed, WorkOrder

EXAMPLES = Path(__file__).parents[2] / "clients/python_sdk/examples"
PASSWORD = "fieldsync"  # of all demo users
NOWHERE = "http://127.0.0.1:9"
Program = subprocess.Popen[str]
Start = Callable[..., Program]


@pytest.fixture
def start(seeded: None, tmp_path: Path) -> Iterator[Start]:
    """Start an example: its name and its arguments."""
    programs: list[Program] = []

    def start(name: str, *arguments: str, password: str = PASSWORD) -> Program:
        program = subprocess.Popen(  # noqa: S603  # our own examples
            [sys.executable, "-u", str(EXAMPLES / name), *arguments],
            cwd=tmp_path,
            env={**os.environ, "FIELDSYNC_PASSWORD": password},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # no terminal to ask for a password at
        )
        programs.append(program)
        return program

    yield start
    for program in programs:
        program.kill()
        program.communicate(timeout=30)


def wait_for(program: Program, text: str) -> str:
    """Return the next line with `text`."""
    assert program.stdout is not None
    seen: list[str] = []
    for line in program.stdout:
        seen.append(line)
        if text in line:
            return seen[-1]
    raise AssertionError(f"{text!r} never came: {seen}")


def scan(program: Program, line: str) -> None:
    assert program.stdin is not None
    program.stdin.write(f"{line}\n")
    program.stdin.flush()


def order_of(username: str) -> WorkOrder:
    user = User.objects.get(username=username)
    order: WorkOrder = WorkOrder.objects.filter(assignee_id=user.pk).order_by("number")[0]
    return order


def test_kiosk_records_what_is_scanned_over_a_kill(start: Start, server: Server) -> None:
    """Whatever it confirmed is on the server in the end, once."""
    arguments = ("kiosk.py", server.url, "kiosk.db", "--user", "tess")
    number = order_of("tess").number
    first = start(*arguments)
    wait_for(first, "received")
    scan(first, "WO-nonsense fuse-3a")
    wait_for(first, "no work order WO-nonsense")
    scan(first, f"{number} fuse-3a 2")
    wait_for(first, "recorded")
    first.kill()
    first.wait(30)

    second = start(*arguments)
    scan(second, f"{number} seal-40")
    wait_for(second, "recorded 1 x seal-40")
    wait_for(second, "sent")
    second.send_signal(signal.SIGTERM)
    output, _ = second.communicate(timeout=30)

    assert second.returncode == 0
    assert "stopped with 0 rows unsent" in output
    parts = PartUsed.objects.order_by("sku").values_list("sku", "quantity")
    assert [(sku, int(quantity)) for sku, quantity in parts] == [("fuse-3a", 2), ("seal-40", 1)]


def test_kiosk_goes_on_without_a_network(start: Start, server: Server) -> None:
    """It knew its orders already; what is taken meanwhile is sent by whichever start comes next."""
    number = order_of("tess").number
    online = start("kiosk.py", server.url, "kiosk.db", "--user", "tess")
    wait_for(online, "received")
    online.terminate()
    online.wait(30)

    offline = start("kiosk.py", NOWHERE, "kiosk.db", "--user", "tess")
    scan(offline, f"{number} fuse-3a")
    wait_for(offline, "recorded")
    offline.terminate()
    assert "stopped with 1 rows unsent" in offline.communicate(timeout=30)[0]

    again = start("kiosk.py", server.url, "kiosk.db", "--user", "tess")
    wait_for(again, "sent 1")
    assert PartUsed.objects.count() == 1


@pytest.mark.parametrize(
    ("url", "password", "status"), [(None, "wrong", 3), (NOWHERE, "fieldsync", 5)]
)
def test_kiosk_says_why_it_ended(
    url: str | None, password: str, status: int, start: Start, server: Server
) -> None:
    """So that its supervisor knows whether to start it again."""
    kiosk = start("kiosk.py", url or server.url, "kiosk.db", "--user", "tess", password=password)

    assert kiosk.wait(60) == status


def test_second_kiosk_on_a_store_ends_at_once(start: Start, server: Server) -> None:
    """Whoever started it by mistake reads who has the store; the first one goes on."""
    arguments = ("kiosk.py", server.url, "kiosk.db", "--user", "tess")
    first = start(*arguments)
    wait_for(first, "received")

    second = start(*arguments)
    output, _ = second.communicate(timeout=30)

    assert second.returncode == 6
    assert f"process {first.pid}" in output
    assert first.poll() is None


def test_recorder_keeps_an_inspection_until_there_is_a_network(
    start: Start, server: Server
) -> None:
    """Answers and the order for the defect: recorded in the cellar, sent upstairs."""
    first = start("inspection_recorder.py", server.url, "tess.db", "--user", "tess")
    assert "received" in first.communicate("fieldsync\n\n", timeout=60)[0]

    cellar = start("inspection_recorder.py", NOWHERE, "tess.db", "--user", "tess")
    output, _ = cellar.communicate("1\ny\nn\nIt drips\ny\n\n", timeout=60)
    assert "No network. 2 unsent" in output
    assert Inspection.objects.count() == 0

    upstairs = start("inspection_recorder.py", server.url, "tess.db", "--user", "tess")
    output, _ = upstairs.communicate("\n", timeout=60)
    assert "Sent 2" in output
    inspection = Inspection.objects.get()
    assert inspection.status == "submitted"
    assert list(inspection.answers.values_list("item_code", "value")) == [
        ("bolts", "ok"),
        ("noise", "ok"),
        ("seal", "defect"),
    ]
    assert WorkOrder.objects.get(title="Seal: It drips").asset_id == inspection.asset_id


def test_recorder_asks_about_what_was_not_accepted(start: Start, server: Server) -> None:
    """All of it, since a group fell; later is an answer, too: it asks again at the next start."""
    arguments = ("inspection_recorder.py", server.url, "tess.db", "--user", "tess")
    essay = "x" * 1_500  # fits an answer, and no title
    start(*arguments).communicate(f"fieldsync\n1\ny\nn\n{essay}\ny\n\n", timeout=60)

    later, _ = start(*arguments).communicate("l\nl\n\n", timeout=60)
    assert later.count("Not accepted: create of") == 2
    assert "title: " in later

    start(*arguments).communicate("d\nd\n\n", timeout=60)
    assert "Not accepted" not in start(*arguments).communicate("\n", timeout=60)[0]
    assert Inspection.objects.count() == 0


def test_board_shows_what_others_do(start: Start, server: Server, tmp_path: Path) -> None:
    """At once: it is poked."""
    import fieldsync

    board = start("async_board.py", server.url, "board.db", "dora")
    order = order_of("tess")
    wait_for(board, order.number)
    with fieldsync.Client(server.url, store=tmp_path / "tess.db") as tess:
        tess.login("tess", "fieldsync")
        tess.sync()
        tess.collection("work_orders").update(str(order.pk), {"status": "in_progress"})
        tess.sync()

    wait_for(board, f"{order.number} in_progress")
    board.send_signal(signal.SIGINT)
    assert board.wait(30) == 0
