"""Lists of the admin that stay quick over many rows: they count no further than people leaf.

Django counts all rows twice for a page of a list, and links to the last of thousands of pages.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Final

from django.contrib import admin
from django.core.paginator import Paginator

ROWS_COUNTED_MAX: Final = 10_000


class CappedPaginator(Paginator):  # type: ignore[type-arg]  # not generic at run time
    """Counts to `ROWS_COUNTED_MAX` and no further: filters and search find the rest."""

    @cached_property
    def count(self) -> int:
        """How many rows there are, or the most that are counted."""
        rows: Any = self.object_list
        counted: int = rows.order_by()[:ROWS_COUNTED_MAX].count()
        return counted


class ListAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """Base of pages whose lists may be long."""

    paginator = CappedPaginator
    show_full_result_count = False
    list_per_page = 50
    list_max_show_all = 200


class LookOnlyAdmin(ListAdmin):
    """Base of pages on which nothing can be changed."""

    def has_add_permission(self, request: object) -> bool:  # noqa: ARG002  # Django calls it so
        """Nobody may."""
        return False

    def has_change_permission(self, request: object, obj: object = None) -> bool:  # noqa: ARG002
        """Nobody may."""
        return False

    def has_delete_permission(self, request: object, obj: object = None) -> bool:  # noqa: ARG002
        """Nobody may."""
        return False
