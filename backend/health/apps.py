"""The server's health as a Django app: it looks at its configuration before the first request."""

from __future__ import annotations

from django.apps import AppConfig


class HealthConfig(AppConfig):
    """System checks of the project."""

    name = "backend.health"
    label = "health"

    def ready(self) -> None:
        """Register the checks."""
        from backend.health import database_setup, deployment  # noqa: F401
