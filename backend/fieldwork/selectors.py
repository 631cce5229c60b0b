"""Reads of the domain that more than one module needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from backend.accounts.models import Membership
from backend.fieldwork.models import Territory

if TYPE_CHECKING:
    from uuid import UUID


def known_members(tenant_id: UUID, ids: Iterable[str]) -> set[str]:
    """Return those of the user ids that are active members of the tenant; one query."""
    found = Membership.objects.filter(tenant_id=tenant_id, user_id__in=ids, is_active=True)
    return {str(user_id) for user_id in found.values_list("user_id", flat=True)}


def lock_paths(tenant_id: UUID, ids: Iterable[str]) -> Mapping[str, str]:
    """Return the paths of those territories, by id, and keep them from moving until COMMIT."""
    found = Territory.objects.filter(tenant_id=tenant_id, id__in=ids).order_by("id")
    locked = found.select_for_update(no_key=True).values_list("id", "path")
    return {str(row_id): path for row_id, path in locked}
