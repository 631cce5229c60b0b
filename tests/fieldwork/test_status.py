"""The status machines, step by step."""

from __future__ import annotations

import pytest

from backend.fieldwork.status import (
    INSPECTION_STEPS,
    WORK_ORDER_STEPS,
    InspectionStatus,
    WorkOrderStatus,
    judge_step,
)
from sync.types import Outcome
from tests.phones import World, create, new_id, update

WORK_ORDER = {  # status -> its next steps
    "draft":       "open cancelled",
    "open":        "assigned cancelled",
    "assigned":    "in_progress cancelled",
    "in_progress": "paused done cancelled",
    "paused":      "in_progress done cancelled",
    "done":        "approved",
    "approved":    "",
    "cancelled":   "",
}  # fmt: skip
REACHABLE = {  # status -> where a phone that was offline may have got to
    "draft":       "open assigned in_progress paused done approved cancelled",
    "open":        "assigned in_progress paused done approved cancelled",
    "assigned":    "in_progress paused done approved cancelled",
    "in_progress": "paused done approved cancelled",
    "paused":      "in_progress done approved cancelled",
    "done":        "approved",
    "approved":    "",
    "cancelled":   "",
}  # fmt: skip
STEPS = [(before, after) for before in WORK_ORDER for after in WORK_ORDER]


def test_every_status_has_its_line() -> None:
    assert set(WORK_ORDER_STEPS) == set(WORK_ORDER) == set(WorkOrderStatus.values)
    assert set(INSPECTION_STEPS) == set(InspectionStatus.values)


@pytest.mark.parametrize(("before", "after"), STEPS)
def test_work_order_goes(before: str, after: str) -> None:
    """Steps made offline arrive as one; steps back never do."""
    refusal = judge_step(WORK_ORDER_STEPS, before, after)

    assert (refusal is None) == (after in REACHABLE[before].split() or after == before)
    if refusal is not None:
        assert refusal.outcome is Outcome.CONFLICT
        assert refusal.code == "illegal_transition"
        assert refusal.args == {"fields": ["status"], "allowed": WORK_ORDER[before].split()}


@pytest.mark.parametrize(
    ("before", "after", "is_legal"),
    [
        ("draft",     "submitted", True),
        ("submitted", "submitted", True),
        ("submitted", "draft",     False),
    ],
)  # fmt: skip
def test_inspection_goes(before: str, after: str, is_legal: bool) -> None:
    assert (judge_step(INSPECTION_STEPS, before, after) is None) == is_legal


def test_phone_learns_which_steps_are_legal(wales: World) -> None:
    """An app can offer the right buttons without knowing the machine."""
    phone, order = wales.hire(), new_id()
    phone.push(create("work_orders", order, **wales.order(status="assigned")))

    (result,) = phone.push(update("work_orders", order, 1, status="open"))

    assert result["outcome"] == "conflict"
    assert result["code"] == "illegal_transition"
    assert result["allowed"] == ["in_progress", "cancelled"]
    assert result["current"]["status"] == "assigned"


def test_job_begun_and_done_offline_arrives_as_done(wales: World) -> None:
    """The phone sends where it got to; what it went through is not an illegal step."""
    phone, order = wales.hire(), new_id()
    phone.push(create("work_orders", order, **wales.order(status="assigned")))

    (result,) = phone.push(update("work_orders", order, 1, status="done"))

    assert result["outcome"] == "updated"


def test_submitted_inspection_stays_submitted(wales: World) -> None:
    phone, asset, inspection = wales.hire(), new_id(), new_id()
    phone.push(
        create("assets", asset, site=wales.site, category="Pump"),
        create("inspections", inspection, asset=asset, template_code="T", status="submitted"),
    )

    (result,) = phone.push(update("inspections", inspection, 1, status="draft"))

    assert (result["outcome"], result["allowed"]) == ("conflict", [])
