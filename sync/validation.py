"""Judge what mutations carry against their collection's serializer; asks the database nothing.

    mutation as sent --judge--> mutation with canonical wire data, or a refusal with field errors

A create comes out as the whole row (defaults filled in), an update as the fields that were sent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rest_framework import serializers

from sync.refusals import invalid
from sync.registry import Collection, FieldSpec, ranked_collections
from sync.types import Actor, FieldError, Mutation, Op, Refusal, Wire
from sync.wire import is_uuid

_ARGUMENTS = {  # error code -> (name in `args`, attribute of the serializer's field)
    "max_length": ("max", "max_length"),
    "min_length": ("min", "min_length"),
    "max_value": ("max", "max_value"),
    "min_value": ("min", "min_value"),
    "max_digits": ("max", "max_digits"),
    "max_decimal_places": ("max", "decimal_places"),
    "invalid_choice": ("choices", "choices"),
}


def judge(
    mutations: Sequence[Mutation], actor: Actor
) -> tuple[list[Mutation], dict[int, Refusal]]:
    """Return the mutations with canonical data, and the refusals of those that are not valid.

    A refused mutation stays in the list as it came, so that every index has its place.
    """
    judges: dict[str, Callable[[Mutation], Mutation | Refusal]] = {}
    checked: list[Mutation] = []
    refused: dict[int, Refusal] = {}
    for mutation in mutations:
        if mutation.collection not in judges:
            judges[mutation.collection] = _judge_for(mutation.collection, actor)
        verdict = judges[mutation.collection](mutation)
        if isinstance(verdict, Refusal):
            refused[mutation.index] = verdict
            checked.append(mutation)
        else:
            checked.append(verdict)
    return checked, refused


def _judge_for(name: str, actor: Actor) -> Callable[[Mutation], Mutation | Refusal]:
    collection = ranked_collections().get(name)
    if collection is not None:
        return _Judge(collection, actor).judge
    detail = f"There is no collection {name!r}."
    error = FieldError(path="collection", code="unknown_collection", detail=detail)
    return lambda _mutation: invalid([error])


class _Judge:
    """One collection's serializer, made once and asked row by row, as a ListSerializer does."""

    def __init__(self, collection: Collection, actor: Actor) -> None:
        self._collection = collection
        self._actor = actor
        self._whole = collection.serializer()
        self._part = collection.serializer(partial=True)
        self._specs = {spec.name: spec for spec in collection.fields}
        self._nested = {spec.name: spec for spec in collection.nested}

    def judge(self, mutation: Mutation) -> Mutation | Refusal:
        if not is_uuid(mutation.id):
            return invalid([FieldError(path="id", code="invalid", detail="Must be a UUID.")])
        if mutation.op is Op.DELETE:
            return mutation
        serializer = self._whole if mutation.op is Op.CREATE else self._part
        given, server_given = self._split(mutation.data)
        try:
            values = serializer.run_validation(given)
        except serializers.ValidationError as error:
            return invalid(flatten_errors(error.detail, serializer.fields))
        row = {**self._render(serializer, values), **server_given}
        if mutation.op is Op.CREATE:
            row = {**self._collection.defaults(), **row}
        return dataclasses.replace(mutation, data=row)

    def _split(self, data: Wire) -> tuple[Wire, Wire]:
        """The office may give what is otherwise the server's; it is taken in wire form."""
        if not self._actor.is_system:
            return data, {}
        server = self._collection.server_fields
        return (
            {name: value for name, value in data.items() if name not in server},
            {name: value for name, value in data.items() if name in server},
        )

    def _render(self, serializer: Any, values: Mapping[str, Any]) -> Wire:
        row: Wire = {}
        for name, field in serializer.fields.items():
            if field.source not in values:
                continue
            value = values[field.source]
            if name in self._nested:
                nested = self._nested[name]
                row[name] = nested.sort([_render(nested.fields, child) for child in value])
            else:
                row[name] = self._specs[name].render(value)
        return row


def _render(fields: Iterable[FieldSpec], values: Mapping[str, Any]) -> Wire:
    row: Wire = {}
    for spec in fields:
        if spec.attname in values:
            row[spec.name] = spec.render(values[spec.attname])
        elif spec.name in values:
            row[spec.name] = spec.render(values[spec.name])
        else:
            row[spec.name] = spec.default()
    return row


def flatten_errors(detail: Any, fields: Mapping[str, Any], prefix: str = "") -> list[FieldError]:
    """Return DRF's nested error detail as a flat list with dotted paths."""
    if isinstance(detail, dict):
        return [
            error
            for name, inner in detail.items()
            for error in flatten_errors(inner, _inner(fields, name), _join(prefix, name))
        ]
    if isinstance(detail, list):
        return [
            error
            for position, inner in enumerate(detail)
            for error in flatten_errors(
                inner,
                fields,
                prefix if isinstance(inner, str) else _join(prefix, str(position)),
            )
        ]
    return [_field_error(detail, fields, prefix)]


def _inner(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return what errors below `name` are about: a nested serializer's fields, or one field."""
    field = fields.get(name)
    child = getattr(field, "child", None)
    if hasattr(child, "fields"):
        return child.fields  # type: ignore[no-any-return, union-attr]
    return {"": field} if field is not None else {}


def _join(prefix: str, name: str) -> str:
    if name == "non_field_errors":
        return prefix
    return f"{prefix}.{name}" if prefix else name


def _field_error(detail: Any, fields: Mapping[str, Any], path: str) -> FieldError:
    code = getattr(detail, "code", "invalid")
    args: Wire = {}
    if code in _ARGUMENTS:
        name, attribute = _ARGUMENTS[code]
        value = getattr(fields.get(""), attribute, None)
        if value is not None:
            args[name] = sorted(value) if attribute == "choices" else value
    return FieldError(path=path, code=code, detail=str(detail), args=args)
