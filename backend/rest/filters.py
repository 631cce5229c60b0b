"""Filters: the query parameters that choose rows of a list; what is not one of them is refused.

Each compares a column that has an index, or narrows what such a column has chosen. What changed
since some time is no filter: the feed tells that, and misses nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, Final

import django_filters as filters

from backend.fieldwork.models import (
    Asset,
    Inspection,
    Note,
    PartUsed,
    Site,
    Territory,
    WorkOrder,
)
from backend.fieldwork.models.searched import ids_having_words
from backend.fieldwork.models.work import WorkOrderKind
from backend.fieldwork.status import AssetStatus, InspectionStatus, WorkOrderStatus

if TYPE_CHECKING:
    from django.db.models import QuerySet

WORDS_MAX: Final = 8
_WORD = re.compile(r"\w+")


class UUIDInFilter(filters.BaseInFilter, filters.UUIDFilter):
    """Several ids with commas in between."""


class RowFilterSet(filters.FilterSet):
    """What all lists have in common."""

    ids = UUIDInFilter("id", lookup_expr="in")


class SearchFilterSet(RowFilterSet):
    """One that can be searched: rows that have all the words, or words that begin like them."""

    search = filters.CharFilter(method="having_words", max_length=200)

    def having_words(self, rows: QuerySet[Any], _name: str, text: str) -> QuerySet[Any]:
        """Return those of `rows` that have all words of `text`."""
        words = _WORD.findall(text)[:WORDS_MAX]
        if not words:
            return rows.none()
        every = " & ".join(f"'{word}':*" for word in words)
        return rows.filter(pk__in=ids_having_words(rows.model, every))


class TerritoryFilterSet(RowFilterSet):
    """Territories."""

    parent = filters.UUIDFilter("parent_id")

    class Meta:
        model = Territory
        fields: ClassVar[list[str]] = []


class SiteFilterSet(SearchFilterSet):
    """Sites."""

    territory = UUIDInFilter("territory_id", lookup_expr="in")

    class Meta:
        model = Site
        fields: ClassVar[list[str]] = []


class AssetFilterSet(SearchFilterSet):
    """Assets."""

    site = UUIDInFilter("site_id", lookup_expr="in")
    status = filters.MultipleChoiceFilter(choices=AssetStatus.choices)

    class Meta:
        model = Asset
        fields: ClassVar[list[str]] = []


class WorkOrderFilterSet(SearchFilterSet):
    """Work orders."""

    status = filters.MultipleChoiceFilter(choices=WorkOrderStatus.choices)
    kind = filters.ChoiceFilter(choices=WorkOrderKind.choices)
    priority = filters.NumberFilter("priority", min_value=1, max_value=5)
    site = UUIDInFilter("site_id", lookup_expr="in")
    asset = UUIDInFilter("asset_id", lookup_expr="in")
    territory = UUIDInFilter("site__territory_id", lookup_expr="in")
    assignee = UUIDInFilter("assignee_id", lookup_expr="in")
    unassigned = filters.BooleanFilter("assignee_id", lookup_expr="isnull")
    due_before = filters.IsoDateTimeFilter("due_at", lookup_expr="lt")
    due_after = filters.IsoDateTimeFilter("due_at", lookup_expr="gt")

    class Meta:
        model = WorkOrder
        fields: ClassVar[list[str]] = []


class InspectionFilterSet(RowFilterSet):
    """Inspections."""

    asset = UUIDInFilter("asset_id", lookup_expr="in")
    work_order = UUIDInFilter("work_order_id", lookup_expr="in")
    status = filters.MultipleChoiceFilter(choices=InspectionStatus.choices)
    template_code = filters.CharFilter("template_code", max_length=64)

    class Meta:
        model = Inspection
        fields: ClassVar[list[str]] = []


class NoteFilterSet(RowFilterSet):
    """Notes."""

    work_order = UUIDInFilter("work_order_id", lookup_expr="in")
    author = UUIDInFilter("author_id", lookup_expr="in")

    class Meta:
        model = Note
        fields: ClassVar[list[str]] = []


class PartUsedFilterSet(RowFilterSet):
    """Material used."""

    work_order = UUIDInFilter("work_order_id", lookup_expr="in")
    sku = filters.CharFilter("sku", max_length=64)

    class Meta:
        model = PartUsed
        fields: ClassVar[list[str]] = []
