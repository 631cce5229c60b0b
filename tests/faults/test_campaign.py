"""A short campaign, and a short hunt: `make faults` in small, so that a broken law stops the build."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any

from backend.devstack.server import ROOT
from tests.faults.campaign.disasters import DISASTERS
from tests.faults.campaign.hunt import list_bugs

DOCS = ROOT / "docs" / "reliability.md"
BUGS_MIN = 20
HISTORIES = 36
TIMEOUT_S = 400
BUGS = (
    "the counter of the feed is read without its lock",
    "a row moves without what hangs below it",
    "a retry is rendered anew",
)
SERVICES = ("DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE")


def run(module: str, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Run it in a process of its own: its database is not the test suite's."""
    environ = {name: value for name, value in os.environ.items() if name not in SERVICES}
    done = subprocess.run(  # noqa: S603  # our own
        [sys.executable, "-m", module, "--json", *arguments],
        cwd=ROOT, env=environ, timeout=TIMEOUT_S, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.startswith("{"), done.stderr
    figures: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, figures


def test_histories_break_no_law() -> None:
    """Whatever the links do, and while parts of the server die: scenario 33 among them."""
    status, figures = run(
        "tests.faults.campaign", "--seed", "ci", "--histories", str(HISTORIES),
        *("--disaster", "postgres is killed", "--disaster", "redis is down"),
    )  # fmt: skip

    assert figures["violations"] == []
    assert status == 0
    assert figures["histories"] == HISTORIES
    assert figures["disasters"].keys() == {"postgres is killed", "redis is down"}
    assert figures["edits"] > HISTORIES
    assert figures["requests without an answer"] > 0


def test_planted_bugs_are_found() -> None:
    """A checker is worth what it finds."""
    status, figures = run("tests.faults.campaign", "--seed", "ci", "--bugs", *BUGS)

    assert [each["bug"] for each in figures["bugs"] if not each["law"]] == []
    assert status == 0


def test_soak_leaves_nothing_behind() -> None:
    """A quarter of a minute of it."""
    status, figures = run("tests.faults.soak", "--seed", "ci", "--minutes", "0.25")

    assert figures["violations"] == []
    assert status == 0
    assert figures["disasters"]


def test_docs_name_every_disaster_and_every_planted_bug() -> None:
    """What is said to have been tried and found is there; and what is there is said."""
    text = DOCS.read_text()
    disasters = set(re.findall(r"^\| \*([^*|]+)\* \|", text, re.MULTILINE))
    bugs = dict(
        re.findall(r"^\| ([^|*]+) \| (server|SDK) \| [\d,]+ \| W?\w+ \|$", text, re.MULTILINE)
    )

    assert disasters == DISASTERS.keys()
    assert bugs == list_bugs()
    assert len(bugs) >= BUGS_MIN
