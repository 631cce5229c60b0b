"""Statuses as words and as machines: which step may follow which. Pure.

    work order   draft -> open -> assigned -> in_progress <-> paused -> done -> approved
                 any of them before done -> cancelled
    inspection   draft -> submitted

A device that was offline sends only where a row got to, not each step: a job that was begun and
done without a network goes from assigned to done at once. So an edit may take several legal steps,
and a row may be created in any status. What no sequence of steps leads to is illegal.
"""

from __future__ import annotations

from collections.abc import Mapping

from django.db.models import TextChoices

from sync.types import Outcome, Refusal


class WorkOrderStatus(TextChoices):
    """How far a work order is."""

    DRAFT = "draft"
    OPEN = "open"
    ASSIGNED = "assigned"
    IN_PROGRESS = "in_progress"
    PAUSED = "paused"
    DONE = "done"
    APPROVED = "approved"
    CANCELLED = "cancelled"


class InspectionStatus(TextChoices):
    """Whether an inspection is still being filled in."""

    DRAFT = "draft"
    SUBMITTED = "submitted"


class AssetStatus(TextChoices):
    """Whether an asset is in use."""

    IN_SERVICE = "in_service"
    OUT_OF_SERVICE = "out_of_service"
    RETIRED = "retired"


Steps = Mapping[str, tuple[str, ...]]  # status -> the statuses that may follow it

WORK_ORDER_STEPS: Steps = {
    "draft": ("open", "cancelled"),
    "open": ("assigned", "cancelled"),
    "assigned": ("in_progress", "cancelled"),
    "in_progress": ("paused", "done", "cancelled"),
    "paused": ("in_progress", "done", "cancelled"),
    "done": ("approved",),
    "approved": (),
    "cancelled": (),
}
INSPECTION_STEPS: Steps = {"draft": ("submitted",), "submitted": ()}


def judge_step(steps: Steps, before: str, after: str) -> Refusal | None:
    """Return why a status may not go from `before` to `after`, or None if it may; staying may.

    The refusal names the next steps in `allowed`.
    """
    if after == before or after in _reachable(steps, before):
        return None
    allowed = steps[before]
    return Refusal(
        outcome=Outcome.CONFLICT,
        code="illegal_transition",
        detail=f"{before} cannot become {after}.",
        args={"fields": ["status"], "allowed": list(allowed)},
    )


def _reachable(steps: Steps, start: str) -> set[str]:
    """Return the statuses that legal steps lead to from `start`, itself included."""
    found, waiting = {start}, [start]
    while waiting:
        new = set(steps[waiting.pop()]) - found
        found |= new
        waiting += new
    return found
