"""The Django app: finds every app's `collections.py` at start."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class SyncConfig(AppConfig):
    """Fieldsync's sync engine."""

    name = "sync"
    verbose_name = "Sync"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Load the collections that the installed apps declare, and the system checks."""
        autodiscover_modules("collections")
        from sync import checks  # noqa: F401
