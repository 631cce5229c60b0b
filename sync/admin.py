"""The office's pages of the engine: what was refused, and what was answered.

    Quarantine   apply or discard what was refused; through `review`, with the office's rights
    Conflicts    of these the edits of rows that somebody else edited first: both side by side
    Receipts     what each key was answered

Nothing is edited here. Each parked mutation is settled in a transaction of its own; who did the
work stays its author.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin, messages
from django.utils.html import format_html, format_html_join

from sync import review, wire
from sync.admin_lists import ListAdmin, LookOnlyAdmin
from sync.clock import utc_now
from sync.errors import SyncError
from sync.models import ChangeRow, Conflict, ParkedMutation, Receipt, Stream
from sync.registry import ranked_collections
from sync.types import Actor, Outcome, ParkedState

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest

ROWS_MAX = 200  # settled by one click: each is a transaction of its own
REFUSALS_SHOWN_MAX = 20
TENANTS_SHOWN_MAX = 100  # in a filter; the address takes others, too
VALUE_CHARS_SHOWN_MAX = 2_000

Settle = Callable[[Actor, ParkedMutation], object]


class CollectionFilter(admin.SimpleListFilter):
    """Rows of one collection, of those that are registered."""

    title = "collection"
    parameter_name = "collection"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        """Return the collections."""
        return [(name, name) for name in ranked_collections()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:  # noqa: ARG002
        """Keep the chosen collection's rows."""
        chosen = self.value()
        return queryset.filter(collection=chosen) if chosen else queryset


class TenantIdFilter(admin.SimpleListFilter):
    """Rows of one tenant, of those that have a feed."""

    title = "tenant"
    parameter_name = "tenant_id"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        """Return the tenants."""
        ids = Stream.objects.order_by("tenant_id").values_list("tenant_id", flat=True)
        return [(str(tenant_id), str(tenant_id)) for tenant_id in ids[:TENANTS_SHOWN_MAX]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:  # noqa: ARG002
        """Keep the chosen tenant's rows."""
        chosen = self.value() or ""
        return queryset.filter(tenant_id=chosen) if wire.is_uuid(chosen) else queryset


@admin.register(ParkedMutation)
class ParkedMutationAdmin(ListAdmin):
    """What was refused and is kept."""

    list_display: Any = (
        "created_at", "collection", "op", "row_id", "outcome", "code", "state", "tenant_id",
    )  # fmt: skip
    list_filter: ClassVar[Any] = ("state", CollectionFilter, "outcome", TenantIdFilter)
    search_fields = ("row_id", "key", "user_id", "device_id")
    ordering = ("-id",)
    actions = ("apply", "discard")
    fields: ClassVar[Any] = (
        "state", "outcome", "code", "detail", "reasons", "op", "collection", "row_id",
        "base_version", "group", "body", "tenant_id", "user_id", "device_id", "key", "created_at",
        "scopes", "settled_at", "settled_by", "reason", "edited",
    )  # fmt: skip
    readonly_fields: ClassVar[Any] = fields

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


@admin.register(Conflict)
class ConflictAdmin(ParkedMutationAdmin):
    """Edits of rows that somebody else had edited first: what was sent, beside what is there."""

    list_display: Any = (
        "created_at",
        "collection",
        "row_id",
        "in_conflict",
        "user_id",
        "tenant_id",
    )
    list_filter: ClassVar[Any] = ("state", CollectionFilter, TenantIdFilter)
    fields: ClassVar[Any] = (
        "state", "collection", "row_id", "side_by_side", "base_version", "group", "body",
        "tenant_id", "user_id", "device_id", "key", "created_at", "scopes", "settled_at",
        "settled_by", "reason", "edited",
    )  # fmt: skip
    readonly_fields: ClassVar[Any] = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return conflicts alone; open ones, unless a state is asked for."""
        rows: QuerySet[Any] = admin.ModelAdmin.get_queryset(self, request)
        found = rows.filter(outcome=Outcome.CONFLICT).defer("errors", "edit")
        page = request.resolver_match
        is_one = page is not None and "object_id" in page.kwargs
        if is_one or {"state", "state__exact"} & request.GET.keys():
            return found
        return found.filter(state=ParkedState.OPEN)

    @admin.display(description="fields")
    def in_conflict(self, parked: ParkedMutation) -> str:
        """Return the fields that both edited."""
        return ", ".join(parked.args.get("fields", ())) or "all"

    @admin.display(description="sent, and there now")
    def side_by_side(self, parked: ParkedMutation) -> str:
        """Return a line for each field that was sent: its name, that value, and the row's."""
        now = _row_of(parked)
        lines = [
            (name, _pretty_value(value), _pretty_value(now.get(name)) if now else "(deleted)")
            for name, value in sorted((parked.data or {}).items())
        ]
        return format_html(
            "<table><tr><th>field</th><th>sent</th><th>now</th></tr>{}</table>",
            format_html_join("", "<tr><th>{}</th><td>{}</td><td>{}</td></tr>", lines),
        )


@admin.register(Receipt)
class ReceiptAdmin(LookOnlyAdmin):
    """What a push under a key came to; phones that ask again are told the same."""

    list_display = ("created_at", "key", "status", "holder_id", "tenant_id")
    list_filter = ("status", TenantIdFilter)
    search_fields = ("=key", "=holder_id")
    search_help_text = "A key, or the id of the device, the API key or the user that sent it."
    ordering = ("-created_at",)
    fields = ("tenant_id", "holder_id", "key", "created_at", "status", "answered")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Receipt]:
        """Return the receipts without their answers; the page of one reads that, too."""
        return super().get_queryset(request).defer("answer")

    @admin.display(description="answer")
    def answered(self, receipt: Receipt) -> str:
        """Return what was answered."""
        return _pretty(wire.decode(bytes(receipt.answer))) if receipt.answer else "-"


def _row_of(parked: ParkedMutation) -> Any:
    """Return the row as it is now; None if it is deleted."""
    change = ChangeRow.objects.filter(
        tenant_id=parked.tenant_id, collection=parked.collection, row_id=parked.row_id
    ).first()
    return wire.decode(change.payload) if change and change.payload else None


def _pretty_value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text[:VALUE_CHARS_SHOWN_MAX]


def _user_id(request: HttpRequest) -> Any:
    return request.user.pk


def _pretty(value: Any) -> str:
    text = json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)
    return format_html("<pre>{}</pre>", text)
