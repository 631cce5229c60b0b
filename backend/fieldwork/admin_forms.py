"""The admin's forms of synced rows: what the engine refuses shows next to its field."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django import forms

from backend.accounts.models import Device, Membership, Tenant
from backend.fieldwork.services import TerritoryCircle
from sync.errors import EditRefused
from sync.models import ChangeRow
from sync.registry import collection_of

MEMBERS_SHOWN_MAX = 1_000  # as choices; a row of a larger tenant is assigned by the API


class RowAmbiguous(Exception):
    """Several tenants have a row of this id, and nobody said whose is meant."""

    def __init__(self) -> None:
        super().__init__(
            "Several tenants have a row of this id: choose one in the list's filter first."
        )


Refused = EditRefused | TerritoryCircle | RowAmbiguous

STALE = (
    "Somebody edited this row while the form was open, and saving would undo that. "
    "Open it again to see the row as it is now."
)


class SyncedForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """Shows `refusal`, when the engine refused what the form had just asked for."""

    refusal: ClassVar[Refused | None] = None

    def clean(self) -> dict[str, Any]:
        """Put each of the refusal's reasons next to its field."""
        cleaned: dict[str, Any] = super().clean() or {}
        for path, reason in reasons(self.refusal):
            names = (path.partition(".")[0], f"{path}_id")
            self.add_error(next((name for name in names if name in self.fields), None), reason)
        return cleaned


class NewRowForm(SyncedForm):
    """A new row; it belongs to one tenant for good."""

    tenant = forms.ModelChoiceField(Tenant.objects.filter(is_active=True))


class EditForm(SyncedForm):
    """An edit of the version that the form was opened on, and of no other."""

    base_version = forms.IntegerField(widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["base_version"].initial = self.instance.version

    def clean(self) -> dict[str, Any]:
        """Refuse to overwrite what a device sent meanwhile."""
        cleaned = super().clean()
        base_version = cleaned.get("base_version")
        if base_version is not None and base_version != self.instance.version:
            self.add_error(None, STALE)
        return cleaned


def reasons(refusal: Refused | None) -> list[tuple[str, str]]:
    """Return a refusal's reasons as (path, text); the path is empty for the row as a whole."""
    if refusal is None:
        return []
    if isinstance(refusal, TerritoryCircle):
        return [("parent", str(refusal))]
    if isinstance(refusal, RowAmbiguous):
        return [("", str(refusal))]
    refused = [result.refusal for result in refusal.results if result.refusal is not None]
    return [
        reason
        for each in refused
        for reason in ([(e.path, e.detail) for e in each.errors] or [("", each.detail)])
    ]


def member_choices(tenant_id: UUID | None) -> list[tuple[str, str]]:
    """Return active members as choices, under nobody; of one tenant, or of all. One query."""
    members = Membership.objects.filter(is_active=True).select_related("user", "tenant")
    if tenant_id is not None:
        members = members.filter(tenant_id=tenant_id)
    shown = members.order_by("user__username")[:MEMBERS_SHOWN_MAX]
    found = {str(m.user_id): f"{m.user.username} ({m.tenant.slug})" for m in shown}
    return [("", "nobody"), *sorted(found.items(), key=lambda choice: choice[1])]


def describe_change(row: Any) -> str:
    """Return what the feed says of the newest change of a row: when, and from which device."""
    change = ChangeRow.objects.filter(
        tenant_id=row.tenant_id, row_id=str(row.pk), collection=collection_of(type(row)).name
    ).first()
    if change is None:
        return "no device has been told of this row"
    devices = Device.objects.select_related("user")
    device = devices.filter(pk=change.device_id).first() if change.device_id else None
    by = "the office" if device is None else f"{device.user.username} on {device}"
    return f"version {change.version}, {change.changed_at:%Y-%m-%d %H:%M} UTC, by {by}"
