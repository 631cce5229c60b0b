"""The office's pages for the domain: every write goes the way of a push, and reaches the phones.

A row's tenant is chosen once. Tasks and answers are shown with their parent and edited on devices.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.widgets import AdminTextareaWidget
from django.db.models import OuterRef, Subquery
from django.http import HttpResponseRedirect, QueryDict

from backend.accounts.models import Tenant
from backend.fieldwork.admin_forms import (
    EditForm,
    NewRowForm,
    Refused,
    RowAmbiguous,
    describe_change,
    member_choices,
    reasons,
)
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
from backend.fieldwork.services import TerritoryCircle, move_territory
from sync.admin_lists import ListAdmin
from sync.errors import EditRefused

if TYPE_CHECKING:
    from django.db.models import Field, Model, QuerySet
    from django.http import HttpRequest, HttpResponse

REFUSED = (EditRefused, TerritoryCircle, RowAmbiguous)
HISTORY = "fieldwork/history.html"
ENGINE_FIELDS = ("id", "version", "created_at", "updated_at")
ONE_LINE_CHARS_MAX = 200  # longer texts get a box


class TenantFilter(admin.SimpleListFilter):
    """Rows of one tenant."""

    title = "tenant"
    parameter_name = "tenant"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        """Return the tenants."""
        return [(str(tenant.pk), tenant.slug) for tenant in Tenant.objects.all()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:  # noqa: ARG002
        """Keep the chosen tenant's rows; of a tenant that does not exist there are none."""
        chosen = self.value()
        if not chosen:
            return queryset
        is_known = any(chosen == tenant_id for tenant_id, _ in self.lookup_choices)
        return queryset.filter(tenant_id=chosen) if is_known else queryset.none()


class SyncedAdmin(ListAdmin):
    """Base of the pages of synced rows."""

    server_fields: ClassVar[tuple[str, ...]] = ()

    object_history_template = HISTORY

    def history_view(
        self, request: Any, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Show what the office did to the row, and above it the newest change, whoever made it."""
        row = self.get_object(request, object_id)
        latest = None if row is None else describe_change(row)
        return super().history_view(
            request, object_id, {**(extra_context or {}), "latest_change": latest}
        )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows, each with its tenant's slug."""
        slug = Tenant.objects.filter(pk=OuterRef("tenant_id")).values("slug")
        rows: QuerySet[Any] = super().get_queryset(request)
        with_slug: QuerySet[Any] = rows.annotate(tenant_slug=Subquery(slug))
        return with_slug

    def get_object(self, request: HttpRequest, object_id: str, from_field: Any = None) -> Any:
        """Return the row; where two tenants have one of this id, that of the list's filter."""
        try:
            return super().get_object(request, object_id, from_field)
        except self.model.MultipleObjectsReturned:
            filters = QueryDict(request.GET.get("_changelist_filters", ""))
            rows = self.get_queryset(request).filter(pk=object_id)
            row = rows.filter(tenant_id__in=filters.getlist(TenantFilter.parameter_name)).first()
            if row is None:
                self.message_user(request, str(RowAmbiguous()), messages.ERROR)
            return row

    @admin.display(ordering="tenant_slug")
    def tenant(self, row: Any) -> str:
        """Return the tenant's slug."""
        return str(row.tenant_slug)

    def get_form(
        self,
        request: Any,
        obj: Model | None = None,
        change: bool = False,  # noqa: FBT001, FBT002
        **kwargs: Any,
    ) -> Any:
        """Return the form, which knows what was refused when it was sent a moment ago."""
        kwargs["form"] = NewRowForm if obj is None else EditForm
        request.tenant_of_form = getattr(obj, "tenant_id", None)
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.refusal = getattr(request, "edit_refused", None)
        return form

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:  # noqa: ARG002
        """Return what the server gives; the tenant is chosen with a new row only."""
        return () if obj is None else (*self.server_fields, "tenant", *ENGINE_FIELDS)

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        """Give long texts a box."""
        if (getattr(db_field, "max_length", None) or 0) > ONE_LINE_CHARS_MAX:
            kwargs["widget"] = AdminTextareaWidget
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001
        """Write the row; `changeform_view` shows what is refused."""
        if not change:
            obj.tenant_id = form.cleaned_data["tenant"].pk
        super().save_model(request, obj, form, change)

    def changeform_view(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Show the form again, with the reasons, when the engine refuses what it asked for."""
        try:
            return super().changeform_view(request, *args, **kwargs)
        except REFUSED as error:
            request.edit_refused = error
            return super().changeform_view(request, *args, **kwargs)

    def delete_view(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Say why, when the engine refuses to delete a row."""
        try:
            return super().delete_view(request, *args, **kwargs)
        except REFUSED as error:
            return self._back(request, error)

    def changelist_view(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Say why, when the engine refuses to delete rows."""
        try:
            return super().changelist_view(request, *args, **kwargs)
        except REFUSED as error:
            return self._back(request, error)

    def get_deleted_objects(self, objs: Any, request: Any) -> Any:
        """Return what deleting these rows would take along.

        Raises:
            RowAmbiguous: a box that was ticked stands for the rows of several tenants.
        """
        ids = [row.pk for row in objs]
        if len(set(ids)) < len(ids):
            raise RowAmbiguous
        return super().get_deleted_objects(objs, request)

    def _back(self, request: HttpRequest, error: Refused) -> HttpResponse:
        for _, reason in reasons(error):
            self.message_user(request, f"Nothing was deleted: {reason}", messages.ERROR)
        return HttpResponseRedirect(request.get_full_path())


class ReadOnlyInline(admin.TabularInline):  # type: ignore[type-arg]  # not generic at run time
    """Nested children, as they are."""

    extra = 0
    can_delete = False
    _tenant_id: UUID | None = None

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        """Remember whose children these are: another tenant's row may have the same id."""
        self._tenant_id = obj.tenant_id if obj is not None else None
        return super().get_formset(request, obj, **kwargs)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the tenant's children."""
        return super().get_queryset(request).filter(tenant_id=self._tenant_id)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """Return False."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """Return False."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """Return False."""
        return False


@admin.register(Territory)
class TerritoryAdmin(SyncedAdmin):
    """The tree of regions."""

    list_display = ("name", "parent", "tenant", "version")
    list_filter = (TenantFilter,)
    list_select_related = ("parent",)
    search_fields = ("name",)
    autocomplete_fields = ("parent",)
    server_fields = ("path",)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001
        """Write the row; one that moves takes its subtree along."""
        if not change or "parent" not in form.changed_data:
            super().save_model(request, obj, form, change)
            return
        others = [name for name in form.changed_data if name not in {"parent", "base_version"}]
        obj.save(update_fields=others)
        move_territory(obj, obj.parent_id)


@admin.register(Site)
class SiteAdmin(SyncedAdmin):
    """Customers' places."""

    list_display = ("name", "customer", "territory", "tenant", "version")
    list_filter = (TenantFilter,)
    list_select_related = ("territory",)
    search_fields = ("name", "customer", "address")
    autocomplete_fields = ("territory",)


@admin.register(Asset)
class AssetAdmin(SyncedAdmin):
    """Things at sites."""

    list_display = ("tag", "category", "brand", "site", "status", "tenant", "version")
    list_filter = (TenantFilter, "status")
    list_select_related = ("site",)
    search_fields = ("tag", "category", "brand")
    autocomplete_fields = ("site",)


class TaskInline(ReadOnlyInline):
    """A work order's tasks."""

    model = Task


@admin.register(WorkOrder)
class WorkOrderAdmin(SyncedAdmin):
    """Work at sites."""

    list_display = ("number", "title", "status", "priority", "site", "due_at", "tenant", "version")
    list_filter = (TenantFilter, "status", "kind", "priority")
    list_select_related = ("site",)
    search_fields = ("number", "title")
    autocomplete_fields = ("site", "asset")
    server_fields = ("number",)
    inlines = (TaskInline,)

    def formfield_for_dbfield(self, db_field: Field[Any, Any], request: Any, **kwargs: Any) -> Any:
        """Offer the members as assignees."""
        if db_field.name == "assignee_id":
            members = partial(member_choices, getattr(request, "tenant_of_form", None))
            return forms.TypedChoiceField(
                choices=members, coerce=UUID, empty_value=None, required=False
            )
        return super().formfield_for_dbfield(db_field, request, **kwargs)


class AnswerInline(ReadOnlyInline):
    """An inspection's answers."""

    model = Answer


@admin.register(Inspection)
class InspectionAdmin(SyncedAdmin):
    """Forms about assets."""

    list_display = ("template_code", "template_version", "asset", "status", "tenant", "version")
    list_filter = (TenantFilter, "status", "template_code")
    list_select_related = ("asset",)
    search_fields = ("template_code",)
    autocomplete_fields = ("asset", "work_order")
    inlines = (AnswerInline,)


@admin.register(Note)
class NoteAdmin(SyncedAdmin):
    """What was written down about work orders."""

    list_display = ("text", "work_order", "tenant", "version")
    list_filter = (TenantFilter,)
    list_select_related = ("work_order",)
    search_fields = ("text", "work_order__number")
    autocomplete_fields = ("work_order",)
    server_fields = ("author_id",)


@admin.register(PartUsed)
class PartUsedAdmin(SyncedAdmin):
    """Material that work orders took."""

    list_display = ("sku", "quantity", "unit", "work_order", "tenant", "version")
    list_filter = (TenantFilter,)
    list_select_related = ("work_order",)
    search_fields = ("sku", "work_order__number")
    autocomplete_fields = ("work_order",)
