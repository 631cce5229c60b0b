"""What was found: inspections of assets, with their answers."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from backend.fieldwork.models.places import Asset
from backend.fieldwork.models.work import WorkOrder
from backend.fieldwork.status import InspectionStatus
from sync.synced_model import NestedModel, SyncedModel
from sync.tenancy import TenantForeignKey


class Inspection(SyncedModel):
    """A form filled in about an asset; its answers are edited with it."""

    asset = TenantForeignKey(Asset, related_name="inspections", db_index=False)
    work_order = TenantForeignKey(
        WorkOrder, null=True, blank=True, related_name="inspections", db_index=False
    )
    template_code = models.CharField(max_length=64)
    template_version = models.IntegerField(default=1)
    status = models.CharField(
        max_length=16, choices=InspectionStatus, default=InspectionStatus.DRAFT
    )
    submitted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "inspection"
        indexes = (
            models.Index(fields=("asset", "tenant_id"), name="inspection_by_asset"),
            models.Index(fields=("work_order", "tenant_id"), name="inspection_by_work_order"),
        )
        constraints = (
            models.CheckConstraint(condition=~Q(template_code=""), name="inspection_has_template"),
            models.CheckConstraint(
                condition=Q(template_version__gte=1), name="inspection_template_version_counts"
            ),
            models.CheckConstraint(
                condition=Q(status__in=InspectionStatus.values), name="inspection_status_known"
            ),
        )

    def __str__(self) -> str:
        return f"{self.template_code} v{self.template_version}"


class Answer(NestedModel):
    """What was answered to one item of an inspection's template."""

    nested_in: ClassVar[str] = "inspection"

    inspection = TenantForeignKey(
        Inspection, on_delete=models.CASCADE, related_name="answers", db_index=False
    )
    item_code = models.CharField(max_length=64)
    value = models.CharField(max_length=2_000, blank=True, default="")
    note = models.CharField(max_length=2_000, blank=True, default="")

    class Meta:
        db_table = "answer"
        ordering = ("item_code",)
        constraints = (models.CheckConstraint(condition=~Q(item_code=""), name="answer_has_item"),)

    def __str__(self) -> str:
        return f"{self.item_code}: {self.value}"
