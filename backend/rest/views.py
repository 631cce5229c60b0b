"""The view sets of the domain's collections, and what can be done to a work order in one step.

RowViewSet (sync.api) <- a collection, its lines, filters, orderings <- router (urls)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.db.models import Count, Q, QuerySet
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action

from backend.fieldwork.status import WorkOrderStatus
from backend.rest import filters, lines, orderings
from backend.rest.actions import (
    AssignSerializer,
    CompleteSerializer,
    SummaryShape,
    assignment,
)
from sync.api import list_cache
from sync.api.actor import actor_of
from sync.api.row_schema import described, filter_parameters, problems
from sync.api.row_views import RowViewSet
from sync.clock import render_time, utc_now
from sync.registry import Collection, ranked_collections
from sync.visible import visible_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import HttpResponse
    from rest_framework.request import Request
    from rest_framework.response import Response
    from rest_framework.serializers import BaseSerializer

    from sync.api.keyset import Ordering
    from sync.types import Actor, Wire


def registered(name: str) -> Collection:
    """Return the collection of that name; all are declared by the time that URLs are read."""
    return ranked_collections()[name]


class FieldworkViewSet(RowViewSet):
    """What all of them share."""

    filter_backends = (DjangoFilterBackend,)
    orderings: ClassVar[Mapping[str, Ordering]] = orderings.BY_ID
    ordering: ClassVar[str] = "-id"


@described
class TerritoryViewSet(FieldworkViewSet):
    """Territories."""

    collection: ClassVar[Collection] = registered("territories")
    list_serializer: ClassVar[type[BaseSerializer[Any]]] = lines.TerritoryLine
    filterset_class = filters.TerritoryFilterSet
    orderings: ClassVar[Mapping[str, Ordering]] = orderings.BY_NAME
    ordering: ClassVar[str] = "name"


@described
class SiteViewSet(FieldworkViewSet):
    """Sites."""

    collection: ClassVar[Collection] = registered("sites")
    list_serializer: ClassVar[type[BaseSerializer[Any]]] = lines.SiteLine
    filterset_class = filters.SiteFilterSet
    orderings: ClassVar[Mapping[str, Ordering]] = orderings.BY_NAME
    ordering: ClassVar[str] = "name"

    def listed(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return sites with their territories and counts."""
        return lines.with_site_counts(rows.select_related("territory"))


@described
class AssetViewSet(FieldworkViewSet):
    """Assets."""

    collection: ClassVar[Collection] = registered("assets")
    list_serializer: ClassVar[type[BaseSerializer[Any]]] = lines.AssetLine
    filterset_class = filters.AssetFilterSet

    def listed(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return assets with their sites."""
        return rows.select_related("site")


@described
class WorkOrderViewSet(FieldworkViewSet):
    """Work orders, and the steps that they take."""

    collection: ClassVar[Collection] = registered("work_orders")
    list_serializer: ClassVar[type[BaseSerializer[Any]]] = lines.WorkOrderLine
    filterset_class = filters.WorkOrderFilterSet
    orderings: ClassVar[Mapping[str, Ordering]] = orderings.WORK_ORDERS

    def listed(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return work orders with their sites and counts."""
        return lines.with_work_order_counts(rows.select_related("site"))

    @extend_schema(
        operation_id="work_orders_summary",
        parameters=[*filter_parameters(filters.WorkOrderFilterSet)],
        responses={200: SummaryShape, 304: None, **problems(400, 401)},
    )
    @action(detail=False)
    def summary(self, request: Request) -> HttpResponse | Response:
        """Count the work orders that one may see, by status and by priority; filters apply."""
        actor = actor_of(request)
        self.check_parameters(request, beyond=frozenset())
        return list_cache.answer(request, actor, lambda: self._sum_up(actor))

    def _sum_up(self, actor: Actor) -> Wire:
        rows = self.filter_queryset(visible_rows(actor, self.collection))
        counted = (
            rows.order_by()
            .values("status", "priority")
            .annotate(n=Count("*"), unassigned=Count("pk", filter=Q(assignee_id=None)))
        )
        by_status = dict.fromkeys(WorkOrderStatus.values, 0)
        by_priority: dict[str, int] = {}
        unassigned = 0
        for line in counted:
            by_status[line["status"]] += line["n"]
            priority = str(line["priority"])
            by_priority[priority] = by_priority.get(priority, 0) + line["n"]
            unassigned += line["unassigned"]
        return {
            "count": sum(by_status.values()),
            "by_status": by_status,
            "by_priority": dict(sorted(by_priority.items())),
            "unassigned": unassigned,
        }

    @action(detail=True, methods=["post"], body=AssignSerializer)
    def assign(self, request: Request, pk: object) -> HttpResponse:
        """Give it to somebody; one that was open is assigned then."""
        given = self.read_body(request)
        return self.edit(request, pk, lambda row: assignment(row, given["assignee"]))

    @action(detail=True, methods=["post"])
    def start(self, request: Request, pk: object) -> HttpResponse:
        """Begin, or go on."""
        return self._step(request, pk, WorkOrderStatus.IN_PROGRESS)

    @action(detail=True, methods=["post"], body=CompleteSerializer)
    def complete(self, request: Request, pk: object) -> HttpResponse:
        """Say that it is done: now, or at `completed_at`."""
        given = self.read_body(request)
        edit = {
            "status": WorkOrderStatus.DONE.value,
            "completed_at": render_time(given.get("completed_at") or utc_now()),
        }
        return self.edit(request, pk, lambda _row: edit)

    @action(detail=True, methods=["post"])
    def approve(self, request: Request, pk: object) -> HttpResponse:
        """Approve what was done."""
        return self._step(request, pk, WorkOrderStatus.APPROVED)

    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: object) -> HttpResponse:
        """Give it up."""
        return self._step(request, pk, WorkOrderStatus.CANCELLED)

    def _step(self, request: Request, pk: object, to: WorkOrderStatus) -> HttpResponse:
        self.read_body(request)
        return self.edit(request, pk, lambda _row: {"status": to.value})


@described
class InspectionViewSet(FieldworkViewSet):
    """Inspections."""

    collection: ClassVar[Collection] = registered("inspections")
    list_serializer: ClassVar[type[BaseSerializer[Any]]] = lines.InspectionLine
    filterset_class = filters.InspectionFilterSet

    def listed(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return inspections with their assets and counts."""
        return lines.with_answer_counts(rows.select_related("asset"))


@described
class NoteViewSet(FieldworkViewSet):
    """Notes."""

    collection: ClassVar[Collection] = registered("notes")
    list_serializer: ClassVar[type[BaseSerializer[Any]]] = lines.NoteLine
    filterset_class = filters.NoteFilterSet

    def listed(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return notes with their work orders."""
        return rows.select_related("work_order")


@described
class PartUsedViewSet(FieldworkViewSet):
    """Material used."""

    collection: ClassVar[Collection] = registered("parts_used")
    list_serializer: ClassVar[type[BaseSerializer[Any]]] = lines.PartUsedLine
    filterset_class = filters.PartUsedFilterSet

    def listed(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return material with its work orders."""
        return rows.select_related("work_order")
