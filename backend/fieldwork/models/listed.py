"""Orders in which lists are read, as indexes have them: see `LISTED_TENANT` for how they begin."""

from __future__ import annotations

from django.db import models

from sync.tenancy import LISTED_TENANT


def list_index(*by: str | models.Expression, name: str) -> models.Index:
    """Return the index of a list in order of `by`, then by id."""
    return models.Index(LISTED_TENANT, *by, "id", name=name)
