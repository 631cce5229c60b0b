"""The database backend as a Django app: it sees to it that the application may use its tables."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig, apps
from django.db import connections
from django.db.models.signals import post_migrate


class PostgresConfig(AppConfig):
    """Grants after each `migrate`."""

    name = "backend.postgres"
    label = "postgres_backend"

    def ready(self) -> None:
        """Listen for the end of migrations."""
        # Sent for each app with models, when all are migrated: once is enough.
        post_migrate.connect(grant, sender=apps.get_app_config("sync"))


def grant(*, using: str, **_: Any) -> None:
    """Let the role that logged in use all tables, where another role owns them.

    Nothing to do in an installation with one role for all.
    """
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT quote_ident(session_user), current_user <> session_user")
        role, is_another = cursor.fetchone()
        if not is_another:
            return
        for rights, things in (
            ("SELECT, INSERT, UPDATE, DELETE", "TABLES"),
            ("USAGE, SELECT", "SEQUENCES"),
        ):
            cursor.execute(f"GRANT {rights} ON ALL {things} IN SCHEMA public TO {role}")
