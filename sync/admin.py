"""The office's pages for the quarantine: look at what was refused, apply or discard it.

Nothing is edited here. Both actions go through `review` with the office's rights, one transaction
for each parked mutation; who did the work stays its author.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.utils.html import format_html

from sync import review
from sync.clock import utc_now
from sync.errors import SyncError
from sync.models import ParkedMutation
from sync.registry import ranked_collections
from sync.types import Actor, ParkedState

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest

ROWS_MAX = 200  # settled by one click: each is a transaction of its own
REFUSALS_SHOWN_MAX = 20

Settle = Callable[[Actor, ParkedMutation], object]


@admin.register(ParkedMutation)
class ParkedMutationAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """What was refused and is kept."""

    list_display = (
        "created_at", "collection", "op", "row_id", "outcome", "code", "state", "tenant_id",
    )  # fmt: skip
    list_filter = ("state", "collection", "outcome", "tenant_id")
    search_fields = ("row_id", "key", "user_id", "device_id")
    ordering = ("-id",)
    show_full_result_count = False
    actions = ("apply", "discard")
    fields = (
        "state", "outcome", "code", "detail", "reasons", "op", "collection", "row_id",
        "base_version", "group", "body", "tenant_id", "user_id", "device_id", "key", "created_at",
        "scopes", "settled_at", "settled_by", "reason", "edited",
    )  # fmt: skip
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[ParkedMutation]:
        """Return the rows without what may be large; the page of one reads that, too."""
        return super().get_queryset(request).defer("data", "errors", "args", "edit")

    @admin.display(description="data")
    def body(self, parked: ParkedMutation) -> str:
        """Return what was sent."""
        return _pretty(parked.data)

    @admin.display(description="reasons")
    def reasons(self, parked: ParkedMutation) -> str:
        """Return all that the refusal says."""
        return _pretty({"errors": parked.errors, **parked.args})

    @admin.display(description="edited to")
    def edited(self, parked: ParkedMutation) -> str:
        """Return what a reviewer changed before applying."""
        return _pretty(parked.edit) if parked.edit else "-"

    @admin.action(description="Apply as sent, whatever the row has become", permissions=["review"])
    def apply(self, request: HttpRequest, queryset: QuerySet[ParkedMutation]) -> None:
        """Apply those that are chosen, parents first."""
        self._settle(
            request,
            queryset,
            lambda actor, parked: review.apply(actor, parked.pk, review.Edit(), utc_now()),
        )

    @admin.action(description="Discard", permissions=["review"])
    def discard(self, request: HttpRequest, queryset: QuerySet[ParkedMutation]) -> None:
        """Discard those that are chosen."""
        self._settle(
            request,
            queryset,
            lambda actor, parked: review.discard(actor, parked.pk, "", utc_now()),
        )

    def has_review_permission(self, request: HttpRequest) -> bool:
        """Whether the user may settle; Django's right to change the model stands for it."""
        return bool(request.user.has_perm("sync.change_parkedmutation"))

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        """Only pushes park."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """What was sent stays as it was sent."""
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Who may settle may look."""
        return self.has_review_permission(request) or super().has_view_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """Nothing that somebody did may vanish."""
        return False

    def _settle(
        self, request: HttpRequest, queryset: QuerySet[ParkedMutation], settle: Settle
    ) -> None:
        rank = {name: position for position, name in enumerate(ranked_collections())}
        chosen = list(queryset.filter(state=ParkedState.OPEN).order_by("id")[: ROWS_MAX + 1])
        refused = 0
        for parked in sorted(chosen[:ROWS_MAX], key=lambda p: rank.get(p.collection, 0)):
            office = Actor(tenant_id=parked.tenant_id, user_id=_user_id(request), is_system=True)
            try:
                settle(office, parked)
            except SyncError as error:
                refused += 1
                if refused <= REFUSALS_SHOWN_MAX:
                    self.message_user(request, f"{parked}: {error}", messages.ERROR)
        done = min(len(chosen), ROWS_MAX) - refused
        self.message_user(request, f"{done} settled, {refused} not.")
        if len(chosen) > ROWS_MAX:
            text = f"Only the first {ROWS_MAX} were looked at: do it again for the rest."
            self.message_user(request, text, messages.WARNING)


def _user_id(request: HttpRequest) -> Any:
    return request.user.pk


def _pretty(value: Any) -> str:
    text = json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)
    return format_html("<pre>{}</pre>", text)
