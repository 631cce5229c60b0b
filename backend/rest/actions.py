"""Actions: what a work order's buttons do, as the edit that each stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rest_framework import serializers

from backend.fieldwork.status import WorkOrderStatus

if TYPE_CHECKING:
    from sync.types import Wire

BEFORE_ASSIGNED = frozenset({WorkOrderStatus.DRAFT, WorkOrderStatus.OPEN})


class SummaryShape(serializers.Serializer[Any]):
    """How many work orders there are."""

    count = serializers.IntegerField()
    by_status = serializers.DictField(child=serializers.IntegerField())
    by_priority = serializers.DictField(child=serializers.IntegerField())
    unassigned = serializers.IntegerField()


class AssignSerializer(serializers.Serializer[Any]):
    """Whom to give a work order to."""

    assignee = serializers.UUIDField()


class CompleteSerializer(serializers.Serializer[Any]):
    """When it was done, if not now."""

    completed_at = serializers.DateTimeField(required=False)


def assignment(row: Wire, assignee: object) -> Wire:
    """Return the edit that gives `row` to somebody; what was waiting for one is assigned then."""
    edit: Wire = {"assignee": str(assignee)}
    if row["status"] in BEFORE_ASSIGNED:
        edit["status"] = WorkOrderStatus.ASSIGNED.value
    return edit
