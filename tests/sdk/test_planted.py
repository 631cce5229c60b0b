"""A test of the tests: a bug that somebody plants into the SDK is found out."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import histories
import pytest
import test_death
import test_threads
from hypothesis import HealthCheck, Phase, given, seed, settings
from phone import Phone
from planted import BUGS, COPIES, PHONES, RESTORES, THREADS, Bug

from fieldsync.testing import FakeServer

SEED = 20261127
HISTORIES_MAX = 100
TRIES_MAX = 20  # of threads that may or may not meet
SWITCH_S = 1e-6  # threads take turns so often
LAWS = {PHONES: "phones", RESTORES: "restores", COPIES: "copies"}
DOCS = Path(__file__).parents[2] / "docs" / "sdk_laws.md"
ROW = re.compile(r"^\| ([^|`]+) \| `tests/sdk/\w+\.py::(\w+)` \| ([\d,]+|-) \|$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """After how many histories, or tries, it was found; and the history that did."""

    tried: int = 1
    steps: list[histories.Step] = field(default_factory=list)


def hunt(bug: Bug) -> Found | None:
    """Try histories until one fails."""
    tried = 0
    found: Found | None = None

    @seed(SEED)
    @settings(
        max_examples=HISTORIES_MAX,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(histories.mix(LAWS[bug.found_by], **bug.shares))
    def live(steps: list[Any]) -> None:
        nonlocal tried, found
        if found:
            return
        tried += 1
        try:
            histories.live(steps)
        except Exception:
            found = Found(tried=tried, steps=steps)

    live()
    return found


def try_threads(folder: Path) -> Found | None:
    """Let threads meet until it goes wrong."""
    for tried in range(1, TRIES_MAX + 1):
        server = FakeServer()
        phone = Phone(server, folder / f"{tried}.db").login()
        try:
            test_threads.test_threads_edit_the_same_row_and_nothing_is_lost(server, phone)
        except Exception:
            return Found(tried=tried)
        finally:
            phone.client.close()
    return None


def find(bug: Bug, folder: Path) -> Found | None:
    """Run the test that is to find it, or a law, until it fails."""
    if bug.found_by in LAWS:
        return hunt(bug)
    if bug.found_by == THREADS:
        return try_threads(folder)
    with pytest.raises(AssertionError):
        test_death.test_death_before_any_statement_costs_nothing_and_doubles_nothing()
    return Found()


@pytest.mark.parametrize("name", BUGS)
def test_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By the test that is there for it, within what CI runs; without the bug all is well."""
    bug = BUGS[name]
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S if bug.found_by == THREADS else interval_s)
    try:
        with monkeypatch.context() as patch:
            bug.plant(patch)
            found = find(bug, tmp_path)
    finally:
        sys.setswitchinterval(interval_s)

    assert found is not None
    print(f"| {name} | `{bug.found_by}` | {found.tried} |")
    histories.live(found.steps)  # it was the bug that failed, nothing else


def test_docs_name_every_planted_bug_and_what_finds_it() -> None:
    """What is said to be found has been planted."""
    told = {name: found_by for name, found_by, _ in ROW.findall(DOCS.read_text())}

    assert told == {name: bug.found_by for name, bug in BUGS.items()}
