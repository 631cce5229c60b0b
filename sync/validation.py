"""Judge what mutations carry against their collection's serializer; asks the database nothing.

    mutation as sent --judge--> mutation with canonical wire data, or a refusal with field errors

A create comes out as the whole row (defaults filled in), an update as the fields that were sent.
Rows that are plainly good never see the serializer (`plain_rows`); all others do, and its errors
are the answer.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from django.core.exceptions import ValidationError as DjangoValidationError
from msgspec.structs import replace
from rest_framework import serializers
from rest_framework.fields import get_error_detail

from sync.fields import REMOVED, FieldSpec, NestedSpec
from sync.plain_rows import PlainRows
from sync.refusals import COLLECTION_FORBIDDEN, invalid
from sync.registry import Collection, ranked_collections
from sync.types import Actor, FieldError, Mutation, NestedPolicy, Op, Refusal, Wire
from sync.wire import is_uuid

Errors = list[FieldError]

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
    collections = ranked_collections()
    checked: list[Mutation] = []
    refused: dict[int, Refusal] = {}
    for mutation in mutations:
        collection = collections.get(mutation.collection)
        if collection is None:
            verdict: Wire | Errors = [_unknown_collection(mutation.collection)]
        elif not actor.may_write(collection.name):
            refused[mutation.index] = COLLECTION_FORBIDDEN
            checked.append(mutation)
            continue
        elif not is_uuid(mutation.id):
            verdict = [FieldError(path="id", code="invalid", detail="Must be a UUID.")]
        elif mutation.op is Op.DELETE:
            verdict = mutation.data
        else:
            verdict = _judge_of(collection).judge(mutation, is_office=actor.is_system)
        if isinstance(verdict, list):
            refused[mutation.index] = invalid(verdict)
            checked.append(mutation)
        else:
            checked.append(replace(mutation, data=verdict))
    return checked, refused


def _unknown_collection(name: str) -> FieldError:
    detail = f"There is no collection {name!r}."
    return FieldError(path="collection", code="unknown_collection", detail=detail)


class _Contained:
    """A validator of Django's whose errors hold nothing.

    Such an error is in its own list, and has the value, and by its traceback whoever called: with
    it, a refused push would stay until the collector comes, which counts objects and not bytes.
    """

    def __init__(self, validator: Any) -> None:
        self._validator = validator

    def __call__(self, value: Any) -> None:
        try:
            self._validator(value)
        except DjangoValidationError as error:
            detail = get_error_detail(error)
            for each in (error, *error.error_list):
                each.__traceback__, each.error_list = None, []
            raise serializers.ValidationError(detail) from None


def _contain(field: serializers.Field[Any, Any, Any, Any]) -> None:
    """Contain the validators of a field, and of all that is in it."""
    field.validators = [
        each if getattr(each, "requires_context", False) else _Contained(each)
        for each in field.validators
    ]
    parts = getattr(field, "fields", {})
    inner = [*parts.values(), *([field.child] if hasattr(field, "child") else [])]
    for each in inner:
        _contain(each)


class RowJudge:
    """One serializer, made once and asked row by row, as its ListSerializer would."""

    def __init__(
        self,
        serializer: serializers.Serializer[Any],
        fields: tuple[FieldSpec, ...],
        nested: tuple[NestedSpec, ...] = (),
    ) -> None:
        self.plain = PlainRows(serializer, fields, nested)  # looks at the validators as they are
        self.serializer = serializer
        _contain(serializer)
        self._specs = {spec.name: spec for spec in fields}
        self._nested = {spec.name: spec for spec in nested}

    def judge(self, data: Any) -> Wire | Errors:
        """Return the values that `data` has in wire form, or all that is wrong with it."""
        row = self.plain.accept(data)
        return self.ask(data) if row is None else row

    def ask(self, data: Any) -> Wire | Errors:
        """Do the same by the serializer alone."""
        try:
            values = self.serializer.run_validation(data)
        except serializers.ValidationError as error:
            return flatten_errors(error.detail, self.serializer.fields)
        return {
            name: self._render(name, values[field.source])
            for name, field in self.serializer.fields.items()
            if field.source in values
        }

    def _render(self, name: str, value: Any) -> Any:
        nested = self._nested.get(name)
        if nested is None:
            return self._specs[name].render(value)
        return nested.sort([nested.complete(_render_child(nested, child)) for child in value])


def _render_child(nested: NestedSpec, values: Mapping[str, Any]) -> Wire:
    """Return a child's values by their names on the wire; a serializer gives them by source."""
    row: Wire = {}
    for spec in nested.fields:
        source = spec.attname if spec.attname in values else spec.name
        if source in values:
            row[spec.name] = spec.render(values[source])
    return row


class _Judge:
    """What judges the rows of one collection; made once."""

    def __init__(self, collection: Collection) -> None:
        fields, nested = collection.fields, collection.nested
        self._collection = collection
        self._whole = RowJudge(collection.serializer(), fields, nested)
        self._part = RowJudge(collection.serializer(partial=True), fields, nested)
        self._edits = {
            spec.name: _ChildEdits(self._part.serializer.fields[spec.name], spec)
            for spec in nested
            if spec.policy is NestedPolicy.MERGE_BY_ID
        }
        self._replaced = [
            spec.name
            for spec in nested
            if spec.policy is NestedPolicy.REPLACE and all(f.name != REMOVED for f in spec.fields)
        ]

    def judge(self, mutation: Mutation, *, is_office: bool) -> Wire | Errors:
        given, server_given = self._split(mutation.data) if is_office else (mutation.data, {})
        if mutation.op is Op.CREATE:
            row = self._whole.judge(given)
            if isinstance(row, dict):
                return {**self._collection.defaults(), **row, **server_given}
            return row
        given = self._without_removals(given)
        if self._edits.keys().isdisjoint(given):
            row = self._part.judge(given)
        else:
            row = self._judge_with_children(given)
        return {**row, **server_given} if isinstance(row, dict) and server_given else row

    def _split(self, data: Wire) -> tuple[Wire, Wire]:
        """The office may give what is otherwise the server's; it is taken in wire form."""
        server = self._collection.server_fields
        return (
            {name: value for name, value in data.items() if name not in server},
            {name: value for name, value in data.items() if name in server},
        )

    def _without_removals(self, data: Wire) -> Wire:
        """A list that is replaced lacks what is removed; a client need not know that it is."""
        lists = {
            name: [item for item in data[name] if not _is_bare_removal(item)]
            for name in self._replaced
            if isinstance(data.get(name), list)
        }
        return {**data, **lists} if lists else data

    def _judge_with_children(self, data: Wire) -> Wire | Errors:
        """Judge an update that edits single children; they stay edits until the plan."""
        row = self._part.judge({k: v for k, v in data.items() if k not in self._edits})
        errors = row if isinstance(row, list) else []
        found: Wire = {}
        for name in self._edits.keys() & data.keys():
            edits = self._edits[name].judge(data[name])
            errors += [edit for edit in edits if isinstance(edit, FieldError)]
            found[name] = edits
        return errors or {**row, **found}  # type: ignore[dict-item]  # no errors: it is a row


def _is_bare_removal(item: object) -> bool:
    return isinstance(item, dict) and item.keys() == {"id", REMOVED} and item[REMOVED] is True


class _ChildEdits:
    """Judges the edits by id of one list of children."""

    def __init__(self, field: Any, spec: NestedSpec) -> None:
        self._name = spec.name
        self._list = field
        self._edit = RowJudge(type(field.child)(partial=True), spec.fields)

    def judge(self, edits: Any) -> list[Wire] | Errors:
        """Return the edits, or all that is wrong with them."""
        if not isinstance(edits, list):
            return self._ask_list(edits)
        judged = [self._judge_one(position, edit) for position, edit in enumerate(edits)]
        errors = [error for each in judged if isinstance(each, list) for error in each]
        rows = [each for each in judged if isinstance(each, dict)]
        return errors or self._twins(rows) or rows

    def _judge_one(self, position: int, edit: Any) -> Wire | Errors:
        is_removal = isinstance(edit, dict) and edit.get(REMOVED) is True
        given = {k: v for k, v in edit.items() if k != REMOVED} if is_removal else edit
        row = self._edit.judge(given)
        if isinstance(row, dict):
            return {**row, REMOVED: True} if is_removal else row
        path = f"{self._name}.{position}"
        return [replace(e, path=f"{path}.{e.path}" if e.path else path) for e in row]

    def _twins(self, rows: Sequence[Wire]) -> Errors:
        seen: set[str] = set()
        errors = []
        for position, row in enumerate(rows):
            if row["id"] in seen:
                path, detail = f"{self._name}.{position}.id", "Another item has this id."
                errors.append(FieldError(path=path, code="unique", detail=detail))
            seen.add(row["id"])
        return errors

    def _ask_list(self, edits: Any) -> Errors:
        """Return what the serializer says of something that is no list."""
        try:
            self._list.run_validation(edits)
        except serializers.ValidationError as error:
            detail: Any = {self._name: error.detail}
            return flatten_errors(detail, {self._name: self._list})
        return []


@functools.cache
def _judge_of(collection: Collection) -> _Judge:
    return _Judge(collection)


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
