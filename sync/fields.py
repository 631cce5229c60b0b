"""What the engine knows of a serializer's fields, compiled once: columns, references, children.

    serializer, model --compile_fields, compile_nested--> FieldSpec, NestedSpec

Everything here is in wire form; how a value is rendered is its field's business.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.db import connection, models

from sync.serializers import KnownIds, model_of
from sync.types import FieldError, NestedPolicy, Wire

if TYPE_CHECKING:
    from rest_framework import serializers

REMOVED: Final = "deleted"  # the member of an edit by id that removes the child


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FieldSpec:
    """One column as the engine needs it; `render` turns a Python value into its wire form."""

    name: str  # on the wire
    attname: str  # on the model
    column: str  # in the table
    pg_type: str
    render: Callable[[Any], Any]
    default: Callable[[], Any]  # in wire form
    is_default_computed: bool  # anew for each row
    is_server: bool  # given by the server, refused from clients


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceSpec:
    """A field that names another row: of a collection, or of something only `known` knows."""

    name: str
    collection: str | None
    known: KnownIds | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NestedSpec:
    """Children that are edited with their parent; on the wire a list in `order`."""

    name: str
    model: type[models.Model]
    fields: tuple[FieldSpec, ...]
    parent: FieldSpec
    order: tuple[str, ...]
    policy: NestedPolicy
    required: frozenset[str]  # what a new child must have
    rows_max: int | None  # children of one parent

    def sort(self, children: list[Wire]) -> list[Wire]:
        """Return `children` in the order in which they are stored and compared."""
        if len(children) < 2:  # noqa: PLR2004  # nothing to sort
            return children
        return sorted(children, key=lambda child: tuple(child[name] for name in self.order))

    def complete(self, child: Wire) -> Wire:
        """Return a child with what was not said of it filled in."""
        return {
            spec.name: child[spec.name] if spec.name in child else spec.default()
            for spec in self.fields
        }

    def merge(
        self, children: list[Wire], edits: list[Wire]
    ) -> list[Wire] | tuple[FieldError, ...]:
        """Return the children after edits by id, or what is wrong with the edits.

        An edit of a known id sets the fields that it has, one of a new id adds a child, and
        `deleted` removes it; a child that no edit names stays.
        """
        merged = {child["id"]: child for child in children}
        errors: list[FieldError] = []
        for position, edit in enumerate(edits):
            known = merged.get(edit["id"])
            if edit.get(REMOVED):
                merged.pop(edit["id"], None)
            elif known is not None:
                merged[edit["id"]] = {**known, **edit}
            else:
                missing = sorted(self.required - edit.keys())
                path = f"{self.name}.{position}"
                errors += [_required(f"{path}.{name}") for name in missing]
                merged[edit["id"]] = self.complete(edit) if not missing else edit
        if self.rows_max is not None and len(merged) > self.rows_max:
            errors.append(_too_many(self.name, self.rows_max))
        return tuple(errors) if errors else self.sort(list(merged.values()))


def _required(path: str) -> FieldError:
    return FieldError(path=path, code="required", detail="A new child needs this field.")


def _too_many(path: str, rows_max: int) -> FieldError:
    detail = f"Ensure this field has no more than {rows_max} elements."
    return FieldError(path=path, code="max_length", detail=detail, args={"max": rows_max})


def is_list_of_children(field: Any) -> bool:
    """Whether a serializer's field is a list of nested rows."""
    return hasattr(getattr(field, "child", None), "fields")


def compile_fields(
    serializer: serializers.BaseSerializer[Any], model: type[models.Model]
) -> tuple[FieldSpec, ...]:
    """Return the columns behind a serializer's fields, lists of children left out."""
    return tuple(
        _compile_field(name, field, model)
        for name, field in serializer.fields.items()  # type: ignore[attr-defined]
        if not is_list_of_children(field)
    )


def _compile_field(name: str, field: Any, model: type[models.Model]) -> FieldSpec:
    model_field = _model_field(model, field.source)
    db_type = model_field.db_type(connection) or "text"
    render = _renderer(field)
    return FieldSpec(
        name=name,
        attname=model_field.attname,
        column=model_field.column,
        pg_type=re.sub(r"\(.*\)", "", db_type),  # lengths are for the table to judge
        render=render,
        default=lambda: render(model_field.get_default()),
        is_default_computed=model_field.has_default() and callable(model_field.default),
        is_server=field.read_only,
    )


def _model_field(model: type[models.Model], source: str) -> Any:
    for field in model._meta.concrete_fields:
        if source in {field.name, field.attname}:
            return field
    message = f"{model.__name__} has no column for the serializer's field {source!r}"
    raise ImproperlyConfigured(message)


_PLAIN = frozenset({str, int, bool})  # the same in Python and on the wire


def _renderer(field: Any) -> Callable[[Any], Any]:
    represent = field.to_representation

    def render(value: Any) -> Any:
        if value is None or type(value) in _PLAIN:
            return value
        if isinstance(value, UUID):
            return str(value)
        return represent(value)

    return render


def compile_nested(
    name: str, field: Any, parent: type[models.Model], policy: NestedPolicy
) -> NestedSpec:
    """Return what is known of a serializer's list of children.

    Raises:
        ImproperlyConfigured: see `check_removable`.
    """
    child = field.child
    model = model_of(type(child))
    link = next(f for f in model._meta.local_fields if f.related_model is parent)
    fields = compile_fields(child, model)
    check_removable(model, fields, policy)
    ordering: Iterable[str] = [str(o) for o in model._meta.ordering or ()]
    return NestedSpec(
        name=name,
        model=model,
        fields=fields,
        parent=_compile_link(link),
        order=(*(o for o in ordering if o != "id"), "id"),
        policy=policy,
        required=frozenset(n for n, f in child.fields.items() if f.required and not f.read_only),
        rows_max=field.max_length,
    )


def check_removable(
    model: type[models.Model], fields: Iterable[FieldSpec], policy: NestedPolicy
) -> None:
    """See that a removal by id can be told from an edit.

    Raises:
        ImproperlyConfigured: children that are merged by id have a field of that name.
    """
    if policy is NestedPolicy.MERGE_BY_ID and any(spec.name == REMOVED for spec in fields):
        message = f"{model.__name__}: a child that is merged by id cannot have {REMOVED!r}"
        raise ImproperlyConfigured(message)


def _compile_link(link: Any) -> FieldSpec:
    return FieldSpec(
        name=link.name,
        attname=link.attname,
        column=str(link.column),
        pg_type="uuid",
        render=str,
        default=lambda: None,
        is_default_computed=False,
        is_server=True,
    )
