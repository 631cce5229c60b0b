"""The accounts app, as Django knows it."""

from __future__ import annotations

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Tenants, users and devices."""

    name = "backend.accounts"
    label = "accounts"
    verbose_name = "Accounts"

    def ready(self) -> None:
        """Describe how devices authenticate; prune what is old; listen to the engine."""
        from backend.accounts import openapi, readings, retention  # noqa: F401
        from sync.signals import pull_answered

        retention.register_all()
        pull_answered.connect(readings.note_read, dispatch_uid="readings")
