"""Orderings: the ways that lists can be read in, each with an index behind it.

Every one is by an expression that is never NULL, then by id. By id alone is by age: apps make ids
that begin with the time.
"""

from __future__ import annotations

from typing import Final

from django.db.models import CharField, DateTimeField, F, SmallIntegerField, UUIDField

from backend.fieldwork.models.work import DUE
from sync.api.keyset import Ordering

BY_ID: Final = {"id": Ordering(by=F("id"), field=UUIDField())}
BY_NAME: Final = {**BY_ID, "name": Ordering(by=F("name"), field=CharField())}
WORK_ORDERS: Final = {
    **BY_ID,
    "priority": Ordering(by=F("priority"), field=SmallIntegerField()),
    "due_at": Ordering(by=DUE, field=DateTimeField()),
}
