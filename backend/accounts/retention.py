"""What accounts keep for a time only, for `manage.py sync_prune` to delete.

    logins     what is left of logins that were not used for REFRESH_TOKEN_DAYS: keys, hashes
    api_keys   keys that were revoked, or are over, for a year
    sessions   the office's, once they are over

Devices and people stay: rows and receipts name them.
"""

from __future__ import annotations

import datetime as dt
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from django.contrib.sessions.models import Session
from django.db.models import Q
from rest_framework_simplejwt.settings import api_settings

from backend.accounts.models import ApiKey, Device
from sync.retention import Portion, Prunable, register

if TYPE_CHECKING:
    from django.db.models import QuerySet

API_KEY_DAYS: Final = 365  # for the question who that was
SESSION_DAYS: Final = 1


def register_all() -> None:
    """Add these to what is pruned."""
    register("logins", Prunable(days=_login_days, find=_find_logins))
    register("api_keys", Prunable(days=lambda: API_KEY_DAYS, find=_find_api_keys))
    register("sessions", Prunable(days=lambda: SESSION_DAYS, find=_find_sessions))


def _login_days() -> int:
    days: int = api_settings.REFRESH_TOKEN_LIFETIME.days
    return days


def _find_logins(before: dt.datetime) -> list[Portion]:
    ended = Device.objects.filter(refreshed_at__lt=before, refresh_key__isnull=False)
    return [Portion(rows=ended.count(), prune=partial(_end_logins, ended))]


def _find_api_keys(before: dt.datetime) -> list[Portion]:
    over = ApiKey.objects.filter(Q(revoked_at__lt=before) | Q(expires_at__lt=before))
    return [Portion(rows=over.count(), prune=partial(_delete, over))]


def _find_sessions(before: dt.datetime) -> list[Portion]:
    over = Session.objects.filter(expire_date__lt=before)
    return [Portion(rows=over.count(), prune=partial(_delete, over))]


def _end_logins(ended: QuerySet[Device], rows_max: int) -> int:
    return ended.filter(pk__in=_take(ended, rows_max)).update(
        login_id=None, refresh_key=None, refresh_hash=None
    )


def _delete(over: QuerySet[Any], rows_max: int) -> int:
    deleted, _ = over.filter(pk__in=_take(over, rows_max)).delete()
    return deleted


def _take(found: QuerySet[Any], rows_max: int) -> list[Any]:
    """Return the keys of some that nobody else is at; they are locked."""
    return list(
        found.select_for_update(skip_locked=True, of=("self",))
        .order_by()
        .values_list("pk", flat=True)[:rows_max]
    )
