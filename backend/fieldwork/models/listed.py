"""Orders in which lists are read, as indexes have them.

They begin with the tenant as text. One that began with the tenant itself would look to PostgreSQL
as good as the key, until the table is first analysed: a check of a reference would read a tenant.
"""

from __future__ import annotations

from typing import Final

from django.db import models
from django.db.models.functions import Cast

TENANT_TEXT: Final = Cast("tenant_id", models.TextField())


def list_index(*by: str | models.Expression, name: str) -> models.Index:
    """Return the index of a list in order of `by`, then by id."""
    return models.Index(TENANT_TEXT, *by, "id", name=name)
