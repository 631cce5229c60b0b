"""Connections of tests of their own, past the engine and past a pooler."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from django.db import connection


def owner_options() -> str:
    """Return the `options` of a connection that takes on the owner's role at once."""
    if connection.connection is None:
        connection.ensure_connection()
    mine: Any = connection.connection
    return f"-c role={mine.owner}" if mine.owner else ""


def direct_url(name: str | None = None) -> str:
    """Return the address of a database of the tests' server: the tests' own, or the one named."""
    url = urlsplit(os.environ["DATABASE_URL"])
    port = os.environ.get("POSTGRES_PORT") or url.port
    password = f":{url.password}" if url.password else ""
    place = f"{url.username}{password}@{url.hostname}:{port}"
    return url._replace(netloc=place, path=name or connection.settings_dict["NAME"]).geturl()
