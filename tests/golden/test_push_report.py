"""The report of a push, as a file: what the docs show, what the server says, what the SDK reads.

To write the file anew after a deliberate change of the wire: `GOLDEN=write make test ARGS=tests/golden`.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from pathlib import Path
from typing import Any

import pytest

from backend.accounts.models import Tenant
from fieldsync.wire import parse_push
from sync import local_edits
from sync.types import Outcome
from tests.phones import Phone, World, create, delete, update
from tests.scenarios.reading import outcomes

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "docs" / "golden" / "push_report.json"
PAGE = ROOT / "docs" / "push_report.md"
ROWS = 500
NOW = "2026-11-23T08:00:00Z"


def named(name: str) -> str:
    """Return the id that goes by `name` here, the same in every run."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"fieldsync:{name}"))


@pytest.fixture
def world(db: None) -> World:
    tenant = Tenant.objects.create(slug="wales", name="Wales")
    cardiff, newport, site, other = map(named, ("cardiff", "newport", "site", "other site"))
    local_edits.apply(
        tenant.pk,
        [
            local_edits.create("territories", {"name": "Cardiff"}, cardiff),
            local_edits.create("territories", {"name": "Newport"}, newport),
            local_edits.create("sites", {"name": "Harbour", "territory": cardiff}, site),
            local_edits.create("sites", {"name": "Mill", "territory": newport}, other),
        ],
    )
    return World(tenant=tenant, canary="Pump", cardiff=cardiff, newport=newport, site=site, other_site=other)  # fmt: skip


@pytest.fixture
def sam(world: World) -> Phone:
    """Return the phone of the supervisor of Cardiff, who may be refused for more reasons than most."""
    return world.hire("supervisor")


def order(world: World, name: str, **data: Any) -> dict[str, Any]:
    return create("work_orders", named(name), **world.order(title=name, **data))


def history(world: World, sam: Phone) -> None:
    """Bring the rows about on which the push will meet its refusals."""
    names = (
        "late edit",
        "late delete",
        "restored",
        "done",
        "taken",
        "noted",
        "deleted",
        "moved",
        "ended",
        "finished",
    )
    rows = [order(world, name) for name in names]
    rows[3]["data"]["status"] = rows[9]["data"]["status"] = "done"
    note = create("notes", named("note"), work_order=named("noted"), text="Bearing worn")
    asset = create("assets", named("asset"), site=world.site, category="pump")
    form = create("inspections", named("form"), asset=named("asset"), template_code="T")
    assert set(outcomes(sam.push(*rows, note, asset, form))) == {"created"}
    edits = [
        update("work_orders", named("late edit"), 1, title="renamed", priority=1),
        update("work_orders", named("late delete"), 1, priority=1),
        update("work_orders", named("moved"), 1, priority=1),
        delete("work_orders", named("deleted"), 1),
    ]
    assert set(outcomes(sam.push(*edits))) == {"updated", "deleted"}


def refused(world: World) -> list[dict[str, Any]]:
    """Return one mutation for each way in which this user's push can be refused."""
    answers = [{"id": named("answer"), "item_code": "1"}] * 2
    return [
        order(world, "invalid", kind="party", due_at="tomorrow", tasks=[{"id": named("task"), "text": ""}]),
        create("work_orders", named("unknown field"), **world.order(number="WO-1", colour="red")),
        update("inspections", named("form"), 1, answers=answers),
        order(world, "no such assignee", assignee=named("nobody")),
        create("meters", named("no such collection"), reading=1),
        update("work_orders", named("late edit"), 1, title="mine"),
        delete("work_orders", named("late delete"), 1),
        update("work_orders", named("restored"), 7, title="mine"),
        update("work_orders", named("done"), 1, status="open"),
        order(world, "taken", priority=5),
        delete("work_orders", named("noted"), 1),
        update("work_orders", named("deleted"), 1, title="mine"),
        update("notes", named("note"), 1, text="Bearing fine"),
        create("territories", named("new territory"), name="Swansea"),
        create("sites", named("new site"), name="Quay", territory=world.newport),
        update("work_orders", named("never was"), 1, title="mine"),
        create("notes", named("orphan"), work_order=named("never was"), text="x"),
        create("notes", named("blocked"), work_order=named("invalid"), text="x"),
        update("work_orders", named("invalid"), 1, title="mine"),
        order(world, "innocent") | {"group": "visit-17"},
        create("parts_used", named("culprit"), "visit-17", work_order=named("innocent"), sku="", quantity="0", unit="pc"),
    ]  # fmt: skip


def batch(world: World) -> list[dict[str, Any]]:
    """Return 500 mutations: one of each refusal, one of each success, and many new rows."""
    special = [
        *refused(world),
        update("work_orders", named("moved"), 1, title="mine"),
        update("work_orders", named("moved"), 2, priority=1),
        update("work_orders", named("finished"), 1, status="approved"),
        delete("work_orders", named("ended"), 1),
    ]
    new = [order(world, f"new {n}") for n in range(ROWS - len(special))]
    for place, mutation in enumerate(special):
        new.insert(place * 20, mutation)
    return new


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
