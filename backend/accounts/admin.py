"""The office's pages for tenants, users, memberships, devices and API keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin

from backend.accounts.models import ApiKey, Device, Membership, Tenant, User
from sync.admin_lists import ListAdmin, LookOnlyAdmin
from sync.clock import utc_now

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest


class _Kept:
    """Rows point at it for good: it is deactivated, never deleted."""

    def has_delete_permission(
        self,
        request: object,  # noqa: ARG002  # Django calls it so
        obj: object = None,  # noqa: ARG002
    ) -> bool:
        """Nobody may; `is_active` does what is wanted."""
        return False


@admin.register(User)
class PersonAdmin(_Kept, ListAdmin, UserAdmin):  # type: ignore[type-arg]  # not generic at run time
    """People; what they may do is said by their memberships."""


@admin.register(Tenant)
class TenantAdmin(_Kept, ListAdmin):
    """Customer organisations."""

    list_display = ("slug", "name", "is_active", "has_quarantine", "min_app_version")
    search_fields = ("slug", "name")


@admin.register(Membership)
class MembershipAdmin(_Kept, ListAdmin):
    """Who is what in which tenant."""

    list_display = ("user", "tenant", "role", "is_active")
    list_filter = ("tenant", "role", "is_active")
    list_select_related = ("user", "tenant")
    search_fields = ("user__username", "tenant__slug")
    autocomplete_fields = ("user", "tenant")


@admin.register(Device)
class DeviceAdmin(ListAdmin):
    """Phones; setting `revoked_at` locks one out at its next request."""

    list_display = (
        *("install_id", "user", "tenant", "platform", "app_version"),
        *("last_seen_at", "outbox_rows", "read_seq", "revoked_at", "must_wipe"),
    )
    list_filter = ("tenant", "platform", "must_wipe", ("revoked_at", admin.EmptyFieldListFilter))
    list_select_related = ("user", "tenant")
    search_fields = ("install_id", "user__username")
    autocomplete_fields = ("user", "tenant")
    readonly_fields = ("created_at", "last_seen_at", "clock_skew_ms", "outbox_rows", "read_seq")

    def has_add_permission(self, request: object) -> bool:  # noqa: ARG002  # Django calls it so
        """Devices register themselves by logging in."""
        return False


@admin.register(ApiKey)
class ApiKeyAdmin(LookOnlyAdmin):
    """Programs of tenants; they are made by the tenants' admins, and may be revoked here."""

    list_display = ("name", "prefix", "tenant", "reads", "writes", "last_used_at", "revoked_at")
    list_filter = ("tenant", ("revoked_at", admin.EmptyFieldListFilter))
    list_select_related = ("tenant",)
    search_fields = ("name", "=prefix")
    fields = (
        *("tenant", "name", "prefix", "reads", "writes", "created_by", "created_at"),
        *("expires_at", "last_used_at", "revoked_at"),
    )
    readonly_fields = fields
    actions = ("revoke",)

    @admin.action(description="Revoke, from the next request on", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """Revoke those that are chosen."""
        revoked = queryset.filter(revoked_at=None).update(revoked_at=utc_now())
        self.message_user(request, f"{revoked} revoked.")

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Whether the user may; Django's right to change the model stands for it."""
        return bool(request.user.has_perm("accounts.change_apikey"))

    def has_view_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Who may revoke may look."""
        return self.has_revoke_permission(request) or super().has_view_permission(request, obj)
