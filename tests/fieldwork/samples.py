"""Rows of any collection, made from nothing but its serializer."""

from __future__ import annotations

import itertools
from typing import Any
from uuid import UUID

from rest_framework import serializers as drf

from sync import local_edits
from sync.ids import uuid7
from sync.registry import Collection, collection_of
from sync.serializers import ReferenceField
from sync.types import Mutation, Wire

CHILDREN = 3  # nested rows in a sample
_VALUES: list[tuple[type[drf.Field[Any, Any, Any, Any]], Any]] = [
    (drf.BooleanField, True),
    (drf.IntegerField, 2),
    (drf.FloatField, 12.5),
    (drf.DecimalField, "2.500"),
    (drf.DateTimeField, "2026-11-23T16:00:00.123456Z"),
    (drf.DateField, "2026-11-23"),
    (drf.JSONField, {"list": [1, 2.5, None, "ü"], "deep": {"a": True}}),
    (drf.UUIDField, None),
    (drf.CharField, "Ffôn 📱"),
]


class Samples:
    """Makes creates for one tenant; rows that are referred to are written at once, and shared."""

    def __init__(self, tenant_id: UUID) -> None:
        self.tenant_id = tenant_id
        self._targets: dict[str, str] = {}

    def create(self, collection: Collection) -> Mutation:
        return local_edits.create(collection.name, self.data(collection))

    def data(self, collection: Collection) -> Wire:
        return {
            name: self._value(field)
            for name, field in collection.serializer().fields.items()
            if not field.read_only and not self._is_skipped(field, collection)
        }

    def _is_skipped(self, field: Any, collection: Collection) -> bool:
        """A row refers to no other of its own kind here, and to nobody outside the sync."""
        if not isinstance(field, ReferenceField):
            return False
        return field.model is None or field.model is collection.model

    def _value(self, field: Any) -> Any:
        if isinstance(field, ReferenceField):
            return self._target(collection_of(field.model))
        if isinstance(field, drf.ListSerializer):
            return [self._child(field.child, position) for position in range(CHILDREN)]
        if isinstance(field, drf.ChoiceField):
            return next(iter(field.choices))
        return next(value for kind, value in _VALUES if isinstance(field, kind))

    def _child(self, serializer: Any, position: int) -> Wire:
        child = {name: self._value(field) for name, field in serializer.fields.items()}
        numbers = itertools.count(CHILDREN - position)
        return {
            name: next(numbers) if isinstance(value, int) and value is not True else value
            for name, value in child.items()
        } | {"id": str(uuid7())}

    def _target(self, collection: Collection) -> str:
        if collection.name not in self._targets:
            mutation = self.create(collection)
            local_edits.apply(self.tenant_id, [mutation])
            self._targets[collection.name] = mutation.id
        return self._targets[collection.name]
