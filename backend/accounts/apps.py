"""The accounts app, as Django knows it."""

from __future__ import annotations

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Tenants, users and devices."""

    name = "backend.accounts"
    label = "accounts"
    verbose_name = "Accounts"

    def ready(self) -> None:
        """Tell the API description how devices authenticate, and what is kept for a time only."""
        from backend.accounts import openapi, retention  # noqa: F401

        retention.register_all()
