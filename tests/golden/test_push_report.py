"""The report of a push, as a file: what the docs show, what the server says, what the SDK reads.

To write the file anew after a deliberate change of the wire: `GOLDEN=write make test ARGS=tests/golden`.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from fieldsync.wire import parse_push
from sync.types import Outcome
from tests.one_of_each import ROWS, batch, history, named_world
from tests.phones import Phone, World

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "docs" / "golden" / "push_report.json"
PAGE = ROOT / "docs" / "push_report.md"
NOW = "2026-11-23T08:00:00Z"


@pytest.fixture
def world(db: None) -> World:
    return named_world()


@pytest.fixture
def sam(world: World) -> Phone:
    """Return the phone of the supervisor of Cardiff."""
    return world.hire("supervisor")


def render(report: dict[str, Any]) -> str:
    """Return the report with a line for each result."""
    lines = ",\n  ".join(json.dumps(line, ensure_ascii=False) for line in report["results"])
    return (
        f'{{"status": "{report["status"]}", "server_time": "{NOW}",\n "results": [\n  {lines}]}}\n'
    )


def test_report_of_500_rows_with_one_of_each_refusal(world: World, sam: Phone) -> None:
    """Every row has its final answer, and an app's developer can read them all in one file."""
    history(world, sam)

    answer = sam.push_raw({"policy": "per_row", "mutations": batch(world)})

    assert answer.status_code == 200
    report = answer.json()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", report["server_time"])
    text = render(report)
    if os.environ.get("GOLDEN") == "write":
        REPORT.write_text(text)
    assert text == REPORT.read_text()


def test_report_has_every_outcome_and_every_refusal_of_the_engine() -> None:
    """But for what takes the quarantine, a second role, or another policy."""
    results = json.loads(REPORT.read_text())["results"]

    assert len(results) == ROWS
    assert {line["outcome"] for line in results} == set(Outcome) - {"quarantined"}
    assert {line["code"] for line in results if "code" in line} == {
        "validation_failed", "version_mismatch", "edited_since", "base_version_ahead", "illegal_transition",
        "id_taken", "still_referenced", "row_deleted", "append_only", "role_forbids", "territory_not_held",
        "row_not_found", "parent_missing", "parent_refused", "create_refused", "group_refused",
    }  # fmt: skip


def test_the_sdk_reads_the_report() -> None:
    """Server and SDK speak of the same file."""
    report = parse_push(REPORT.read_bytes())

    assert [result.index for result in report.results] == list(range(ROWS))
    assert {result.outcome for result in report.results} <= set(Outcome)
    assert all(result.detail for result in report.results if result.code)


def test_docs_show_the_report() -> None:
    """One line of each kind, as it stands in the file, under its outcome and code."""
    results = json.loads(REPORT.read_text())["results"]
    kinds = {(line["outcome"], line.get("code", "")) for line in results}

    shown = re.findall(
        r"^## `(\w+)`(?:, `(\w+)`)?\n.*?```json\n(.*?)```", PAGE.read_text(), re.M | re.S
    )

    assert {(outcome, code) for outcome, code, _ in shown} == kinds
    for outcome, code, text in shown:
        line = json.loads(text)
        assert (line["outcome"], line.get("code", "")) == (outcome, code)
        assert line in results
