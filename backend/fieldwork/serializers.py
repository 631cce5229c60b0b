"""The rows as they travel: one serializer a collection, for sync and for the plain API alike."""

from __future__ import annotations

import math
from typing import Any, Final

from rest_framework import serializers

from backend.fieldwork.models import (
    Answer,
    Asset,
    Inspection,
    Note,
    PartUsed,
    Site,
    Task,
    Territory,
    WorkOrder,
)
from backend.fieldwork.models.work import PRIORITY_HIGHEST, PRIORITY_LOWEST, QUANTITY_MIN
from backend.fieldwork.selectors import known_members
from sync.serializers import NestedSerializer, ReferenceField, RowSerializer

TASKS_MAX: Final = 200
ANSWERS_MAX: Final = 1_000  # the longest known form has 250 items
INT32_MAX: Final = 2**31 - 1
LATITUDE_MAX: Final = 90
LONGITUDE_MAX: Final = 180


class DegreesField(serializers.FloatField):
    """A coordinate; unlike its base it takes numbers only, and no NaN, which JSON cannot say."""

    def to_internal_value(self, data: Any) -> float:
        """Return the number.

        Raises:
            ValidationError: not a finite number.
        """
        if isinstance(data, bool) or not isinstance(data, int | float) or not math.isfinite(data):
            self.fail("invalid")
        return float(data)


class AttributesField(serializers.JSONField):
    """Free members of a row: a JSON object."""

    default_error_messages = {"not_an_object": "Must be a JSON object."}

    def to_internal_value(self, data: Any) -> Any:
        """Return the object.

        Raises:
            ValidationError: another JSON value.
        """
        if not isinstance(data, dict):
            self.fail("not_an_object")
        return super().to_internal_value(data)


class TerritorySerializer(RowSerializer):
    """A territory."""

    class Meta:
        model = Territory
        fields = ["name", "parent", "path"]
        read_only_fields = ["path"]


class SiteSerializer(RowSerializer):
    """A site."""

    latitude = DegreesField(
        required=False, allow_null=True, min_value=-LATITUDE_MAX, max_value=LATITUDE_MAX
    )
    longitude = DegreesField(
        required=False, allow_null=True, min_value=-LONGITUDE_MAX, max_value=LONGITUDE_MAX
    )

    class Meta:
        model = Site
        fields = [
            "name",
            "customer",
            "address",
            "latitude",
            "longitude",
            "access_notes",
            "territory",
        ]


class AssetSerializer(RowSerializer):
    """An asset."""

    attributes = AttributesField(required=False)

    class Meta:
        model = Asset
        fields = ["site", "tag", "category", "brand", "installed_on", "status", "attributes"]


class TaskSerializer(NestedSerializer):
    """A task, within its work order."""

    class Meta:
        model = Task
        fields = ["id", "position", "text", "done", "result"]


class WorkOrderSerializer(RowSerializer):
    """A work order with its tasks."""

    assignee = ReferenceField(
        source="assignee_id", known=known_members, required=False, allow_null=True
    )
    tasks = TaskSerializer(many=True, required=False, max_length=TASKS_MAX)  # type: ignore[call-arg]  # the list's own

    class Meta:
        model = WorkOrder
        fields = [
            "number",
            "kind",
            "status",
            "priority",
            "site",
            "asset",
            "assignee",
            "title",
            "description",
            "due_at",
            "completed_at",
            "tasks",
        ]
        read_only_fields = ["number"]
        extra_kwargs = {"priority": {"min_value": PRIORITY_HIGHEST, "max_value": PRIORITY_LOWEST}}


class AnswerSerializer(NestedSerializer):
    """An answer, within its inspection."""

    class Meta:
        model = Answer
        fields = ["id", "item_code", "value", "note"]


class InspectionSerializer(RowSerializer):
    """An inspection with its answers."""

    answers = AnswerSerializer(many=True, required=False, max_length=ANSWERS_MAX)  # type: ignore[call-arg]  # as above

    class Meta:
        model = Inspection
        fields = [
            "asset",
            "work_order",
            "template_code",
            "template_version",
            "status",
            "submitted_at",
            "answers",
        ]
        extra_kwargs = {"template_version": {"min_value": 1, "max_value": INT32_MAX}}


class NoteSerializer(RowSerializer):
    """A note."""

    author = ReferenceField(source="author_id", known=known_members, read_only=True)

    class Meta:
        model = Note
        fields = ["work_order", "text", "author"]


class PartUsedSerializer(RowSerializer):
    """Material used."""

    class Meta:
        model = PartUsed
        fields = ["work_order", "sku", "quantity", "unit"]
        extra_kwargs = {"quantity": {"min_value": QUANTITY_MIN}}
