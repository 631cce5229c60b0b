"""Lines: what a list shows of a row; the row itself has it all.

Counts are subqueries of the page's rows alone, and tenants are part of each.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
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

Rows = QuerySet[Any]
HEAD = ["id", "version", "updated_at"]


def count_of(model: type[Any], of: str, condition: Q | None = None) -> Coalesce:
    """Return the number of `model`'s rows that refer to a row by `of`."""
    referring = model._default_manager.filter(
        condition or Q(), **{f"{of}_id": OuterRef("pk"), "tenant_id": OuterRef("tenant_id")}
    )
    counted = referring.order_by().values(f"{of}_id").annotate(n=Count("*")).values("n")
    return Coalesce(Subquery(counted), 0)


class TerritoryLine(serializers.ModelSerializer[Territory]):
    """A territory."""

    parent = serializers.UUIDField(source="parent_id", allow_null=True)  # type: ignore[assignment]  # a field's name

    class Meta:
        model = Territory
        fields = [*HEAD, "name", "parent", "path"]


class SiteLine(serializers.ModelSerializer[Site]):
    """A site, with its territory's name."""

    territory = serializers.UUIDField(source="territory_id")
    territory_name = serializers.CharField(source="territory.name")
    assets_count = serializers.IntegerField()
    open_work_orders_count = serializers.IntegerField()

    class Meta:
        model = Site
        fields = [
            *HEAD,
            *("name", "customer", "territory", "territory_name"),
            *("assets_count", "open_work_orders_count"),
        ]


class AssetLine(serializers.ModelSerializer[Asset]):
    """An asset, with its site's name."""

    site = serializers.UUIDField(source="site_id")
    site_name = serializers.CharField(source="site.name")

    class Meta:
        model = Asset
        fields = [*HEAD, "site", "site_name", "tag", "category", "brand", "status"]


class WorkOrderLine(serializers.ModelSerializer[WorkOrder]):
    """A work order, with its site's name and how far its tasks are."""

    site = serializers.UUIDField(source="site_id")
    site_name = serializers.CharField(source="site.name")
    assignee = serializers.UUIDField(source="assignee_id", allow_null=True)
    tasks_count = serializers.IntegerField()
    tasks_done_count = serializers.IntegerField()
    notes_count = serializers.IntegerField()

    class Meta:
        model = WorkOrder
        fields = [
            *HEAD,
            *("number", "kind", "status", "priority", "title", "site", "site_name", "assignee"),
            *("due_at", "completed_at", "tasks_count", "tasks_done_count", "notes_count"),
        ]


class InspectionLine(serializers.ModelSerializer[Inspection]):
    """An inspection, with its asset's category and the number of its answers."""

    asset = serializers.UUIDField(source="asset_id")
    asset_category = serializers.CharField(source="asset.category")
    work_order = serializers.UUIDField(source="work_order_id", allow_null=True)
    answers_count = serializers.IntegerField()

    class Meta:
        model = Inspection
        fields = [
            *HEAD,
            *("asset", "asset_category", "work_order", "template_code", "template_version"),
            *("status", "submitted_at", "answers_count"),
        ]


class NoteLine(serializers.ModelSerializer[Note]):
    """A note, with its work order's number."""

    work_order = serializers.UUIDField(source="work_order_id")
    work_order_number = serializers.CharField(source="work_order.number")
    author = serializers.UUIDField(source="author_id", allow_null=True)

    class Meta:
        model = Note
        fields = [*HEAD, "work_order", "work_order_number", "text", "author"]


class PartUsedLine(serializers.ModelSerializer[PartUsed]):
    """Material used, with its work order's number."""

    work_order = serializers.UUIDField(source="work_order_id")
    work_order_number = serializers.CharField(source="work_order.number")

    class Meta:
        model = PartUsed
        fields = [*HEAD, "work_order", "work_order_number", "sku", "quantity", "unit"]


def with_site_counts(rows: Rows) -> Rows:
    """Return sites with what their lines count."""
    is_closed = Q(status__in=("done", "approved", "cancelled"))
    counted: Rows = rows.annotate(
        assets_count=count_of(Asset, "site"),
        open_work_orders_count=count_of(WorkOrder, "site", ~is_closed),
    )
    return counted


def with_work_order_counts(rows: Rows) -> Rows:
    """Return work orders with what their lines count."""
    counted: Rows = rows.annotate(
        tasks_count=count_of(Task, "work_order"),
        tasks_done_count=count_of(Task, "work_order", Q(done=True)),
        notes_count=count_of(Note, "work_order"),
    )
    return counted


def with_answer_counts(rows: Rows) -> Rows:
    """Return inspections with the number of their answers."""
    counted: Rows = rows.annotate(answers_count=count_of(Answer, "inspection"))
    return counted
