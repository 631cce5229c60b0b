"""The office's pages for tenants, users, memberships and devices."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin

from backend.accounts.models import Device, Membership, Tenant, User


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
class PersonAdmin(_Kept, UserAdmin):  # type: ignore[type-arg]  # not generic at run time
    """People; what they may do is said by their memberships."""


@admin.register(Tenant)
class TenantAdmin(_Kept, admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """Customer organisations."""

    list_display = ("slug", "name", "is_active", "has_quarantine", "min_app_version")
    search_fields = ("slug", "name")


@admin.register(Membership)
class MembershipAdmin(_Kept, admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """Who is what in which tenant."""

    list_display = ("user", "tenant", "role", "is_active")
    list_filter = ("tenant", "role", "is_active")
    list_select_related = ("user", "tenant")
    search_fields = ("user__username", "tenant__slug")
    autocomplete_fields = ("user", "tenant")


@admin.register(Device)
class DeviceAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """Phones; setting `revoked_at` locks one out at its next request."""

    list_display = ("install_id", "user", "tenant", "platform", "app_version", "last_seen_at")
    list_filter = ("tenant", "platform")
    list_select_related = ("user", "tenant")
    search_fields = ("install_id", "user__username")
    autocomplete_fields = ("user", "tenant")
    readonly_fields = ("created_at", "last_seen_at", "clock_skew_ms")

    def has_add_permission(self, request: object) -> bool:  # noqa: ARG002  # Django calls it so
        """Devices register themselves by logging in."""
        return False
