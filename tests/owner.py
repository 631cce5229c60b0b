"""Connections of tests that look past row-level security: as the role that owns the tables."""

from __future__ import annotations

from typing import Any

from django.db import connection


def owner_options() -> str:
    """Return the `options` of a connection that takes on the owner's role at once."""
    if connection.connection is None:
        connection.ensure_connection()
    mine: Any = connection.connection
    return f"-c role={mine.owner}" if mine.owner else ""
