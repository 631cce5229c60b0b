"""What is to be done: work orders with their tasks, and what is written down about them."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar, Final

from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q

from backend.fieldwork.models.listed import list_index
from backend.fieldwork.models.places import Asset, Site
from backend.fieldwork.models.searched import WORK_ORDER_WORDS
from backend.fieldwork.status import WorkOrderStatus
from sync.synced_model import NestedModel, SyncedModel
from sync.tenancy import TenantForeignKey, TenantPolicy, TenantReference

TEXT_CHARS_MAX: Final = 5_000
PRIORITY_HIGHEST: Final = 1
PRIORITY_LOWEST: Final = 5
QUANTITY_DIGITS: Final = 12
QUANTITY_DECIMALS: Final = 3
QUANTITY_MIN: Final = Decimal("0.001")


# What has no date is due last. Spelt without parameters, as the index has to be; and no COALESCE,
# which row-level security keeps from any index (`TenantPolicy`).
DUE: Final = models.Func(
    models.F("due_at"),
    template=(
        "CASE WHEN %(expressions)s IS NULL THEN '9999-01-01 00:00:00+00'::timestamptz "
        "ELSE %(expressions)s END"
    ),
    output_field=models.DateTimeField(),
)


class WorkOrderKind(models.TextChoices):
    """What a work order is for."""

    REPAIR = "repair"
    INSPECTION = "inspection"
    INSTALL = "install"


class NumberSeries(models.Model):
    """A tenant's counter of work orders: `next` is the number that the next one gets."""

    tenant_id = models.UUIDField(primary_key=True)
    next = models.BigIntegerField()

    class Meta:
        db_table = "work_order_number"
        constraints = (
            models.CheckConstraint(condition=Q(next__gte=1), name="work_order_number_counts_up"),
            TenantPolicy(name="work_order_number_tenant"),
        )

    def __str__(self) -> str:
        return f"{self.tenant_id}: {self.next}"


class WorkOrder(SyncedModel):
    """A piece of work at a site; its tasks are edited with it."""

    number = models.CharField(max_length=16, editable=False, default="")
    kind = models.CharField(max_length=16, choices=WorkOrderKind)
    status = models.CharField(max_length=16, choices=WorkOrderStatus, default=WorkOrderStatus.OPEN)
    priority = models.SmallIntegerField(default=3)  # 1 is the highest
    site = TenantForeignKey(Site, related_name="work_orders", db_index=False)
    asset = TenantForeignKey(
        Asset, null=True, blank=True, related_name="work_orders", db_index=False
    )
    assignee_id = models.UUIDField(null=True, blank=True, verbose_name="assignee")
    title = models.CharField(max_length=200)
    description = models.CharField(max_length=TEXT_CHARS_MAX, blank=True, default="")
    due_at = models.DateTimeField(null=True, blank=True)
    completed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "work_order"
        indexes = (
            models.Index(fields=("site", "tenant_id"), name="work_order_by_site"),
            models.Index(fields=("asset", "tenant_id"), name="work_order_by_asset"),
            models.Index(fields=("assignee_id", "tenant_id"), name="work_order_by_assignee"),
            list_index("priority", name="work_order_by_priority"),
            list_index(DUE, name="work_order_by_due"),
            GinIndex(WORK_ORDER_WORDS, name="work_order_by_words"),
        )
        constraints = (
            models.UniqueConstraint(fields=("number", "tenant_id"), name="work_order_number_once"),
            models.CheckConstraint(condition=~Q(number=""), name="work_order_numbered"),
            models.CheckConstraint(condition=~Q(title=""), name="work_order_titled"),
            models.CheckConstraint(
                condition=Q(kind__in=WorkOrderKind.values), name="work_order_kind_known"
            ),
            models.CheckConstraint(
                condition=Q(status__in=WorkOrderStatus.values), name="work_order_status_known"
            ),
            models.CheckConstraint(
                condition=Q(priority__range=(PRIORITY_HIGHEST, PRIORITY_LOWEST)),
                name="work_order_priority_known",
            ),
            TenantReference(
                field="assignee_id",
                to="accounts.Membership",
                to_column="user_id",
                name="work_order_assignee_ref",
            ),
        )

    def __str__(self) -> str:
        return f"{self.number} {self.title}"


class Task(NestedModel):
    """One step of a work order."""

    nested_in: ClassVar[str] = "work_order"

    work_order = TenantForeignKey(
        WorkOrder, on_delete=models.CASCADE, related_name="tasks", db_index=False
    )
    position = models.IntegerField(default=0)
    text = models.CharField(max_length=500)
    done = models.BooleanField(default=False)
    result = models.CharField(max_length=2_000, blank=True, default="")

    class Meta:
        db_table = "task"
        ordering = ("position",)
        constraints = (models.CheckConstraint(condition=~Q(text=""), name="task_says_what"),)

    def __str__(self) -> str:
        return self.text


class Note(SyncedModel):
    """Something that was written down about a work order; never edited."""

    work_order = TenantForeignKey(WorkOrder, related_name="notes", db_index=False)
    text = models.CharField(max_length=TEXT_CHARS_MAX)
    author_id = models.UUIDField(null=True, blank=True, editable=False, verbose_name="author")

    class Meta:
        db_table = "note"
        indexes = (
            models.Index(fields=("work_order", "tenant_id"), name="note_by_work_order"),
            models.Index(fields=("author_id", "tenant_id"), name="note_by_author"),
        )
        constraints = (
            models.CheckConstraint(condition=~Q(text=""), name="note_says_something"),
            TenantReference(
                field="author_id",
                to="accounts.Membership",
                to_column="user_id",
                name="note_author_ref",
            ),
        )

    def __str__(self) -> str:
        return self.text[:60]


class PartUsed(SyncedModel):
    """Material that a work order took; never edited."""

    work_order = TenantForeignKey(WorkOrder, related_name="parts_used", db_index=False)
    sku = models.CharField(max_length=64)
    quantity = models.DecimalField(max_digits=QUANTITY_DIGITS, decimal_places=QUANTITY_DECIMALS)
    unit = models.CharField(max_length=16)

    class Meta:
        db_table = "part_used"
        verbose_name_plural = "parts used"
        indexes = (
            models.Index(fields=("work_order", "tenant_id"), name="part_used_by_work_order"),
        )
        constraints = (
            models.CheckConstraint(condition=~Q(sku=""), name="part_used_has_sku"),
            models.CheckConstraint(condition=Q(quantity__gt=0), name="part_used_of_some"),
            models.CheckConstraint(condition=~Q(unit=""), name="part_used_has_unit"),
        )

    def __str__(self) -> str:
        return f"{self.quantity} {self.unit} {self.sku}"
