"""The one declaration of a row's fields: DRF serializers with a sync's manners.

    class SiteSerializer(RowSerializer):
        class Meta:
            model = Site
            fields = ["name", "territory"]          # a TenantForeignKey becomes a ReferenceField

Judging a row asks the database nothing: whether references exist and values are unique is found
out by the engine with one query per batch, or by the database's own constraints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

from rest_framework import serializers

from sync.tenancy import TenantForeignKey

if TYPE_CHECKING:
    from django.db import models

KnownIds = Callable[[UUID, Iterable[str]], set[str]]  # (tenant, ids) -> those that exist there


class ReferenceField(serializers.UUIDField):
    """The id of another row of the tenant.

    `model` is the synced model referred to. For a reference to something that is not synced, give
    `known` instead: (tenant id, ids) -> the ids that exist, asked once per batch.
    """

    def __init__(self, *, model: Any = None, known: KnownIds | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.known = known


class RowSerializer(serializers.ModelSerializer[Any]):
    """Base of every synced collection's serializer.

    Refuses fields that it does not know and fields that the server gives, instead of dropping
    them in silence; makes no query.
    """

    default_error_messages = {
        "unknown_field": "This collection has no such field.",
        "read_only": "The server gives this field.",
    }

    def to_internal_value(self, data: Any) -> Any:
        """Validate one row.

        Raises:
            ValidationError: with every field that is wrong, unknown or server-given.
        """
        refused = self._refused_fields(data) if isinstance(data, Mapping) else {}
        try:
            values = super().to_internal_value(data)
        except serializers.ValidationError as error:
            raise serializers.ValidationError({**error.detail, **refused}) from None  # type: ignore[dict-item]
        if refused:
            raise serializers.ValidationError(refused)
        return values

    def _refused_fields(self, data: Mapping[str, Any]) -> dict[str, Any]:
        fields = self.fields
        codes = {
            name: "read_only" if name in fields else "unknown_field"
            for name in data
            if name not in fields or fields[name].read_only
        }
        return {
            name: [serializers.ErrorDetail(str(self.error_messages[code]), code=code)]
            for name, code in codes.items()
        }

    def build_relational_field(self, field_name: str, relation_info: Any) -> Any:
        """Return a `ReferenceField`: DRF's own would look each id up on its own."""
        model_field = relation_info.model_field
        if not isinstance(model_field, TenantForeignKey):
            return super().build_relational_field(field_name, relation_info)
        kwargs: dict[str, Any] = {"model": relation_info.related_model}
        kwargs["source"] = model_field.attname
        if model_field.null:
            kwargs["allow_null"] = True
        if model_field.null or model_field.has_default():
            kwargs["required"] = False
        return ReferenceField, kwargs

    def get_validators(self) -> list[Any]:
        """Return only validators that were declared; the database judges uniqueness."""
        return list(getattr(self.Meta, "validators", ()))


class NestedSerializer(RowSerializer):
    """Base of the serializer of nested children; each child has an id, made by the client.

    By itself and partial, it judges the edit of one child; within its parent, a whole child.
    """

    id = serializers.UUIDField()

    def is_needed(self, name: str) -> bool:
        """Whether `name` must be there: an edit of one child needs no more than its id."""
        field = self.fields[name]
        parent: Any = self.parent
        is_edit = parent is None and self.partial
        return name == "id" if is_edit else field.required and not field.read_only

    def _refused_fields(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Miss what is required in an edit of the parent too: it sends whole children."""
        missing = {
            name: [serializers.ErrorDetail(str(field.error_messages["required"]), code="required")]
            for name, field in self.fields.items()
            if name not in data and self.is_needed(name)
        }
        return {**super()._refused_fields(data), **missing}


def model_of(serializer: type[serializers.BaseSerializer[Any]]) -> type[models.Model]:
    """Return the model that a row serializer declares."""
    model: type[models.Model] = serializer.Meta.model  # type: ignore[attr-defined]
    return model
