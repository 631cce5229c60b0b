"""The seam to the project: what a project declares so that its rows sync.

    @register
    class Sites(Collection):
        name = "sites"
        serializer = SiteSerializer

        def own_scopes(self, row):
            return {f"territory:{row['territory']}"}

Put such classes into `collections.py` of an app; they are found at start. A collection is compiled
once from its serializer: columns, wire names, references, nested children. The engine works from
the compiled specs alone, in wire form.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.db import connection, models

from sync.plan import Resolver
from sync.serializers import KnownIds, ReferenceField, RowSerializer, model_of
from sync.types import Actor, ConflictPolicy, Refusal, Wire

if TYPE_CHECKING:
    from rest_framework import serializers


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

    def sort(self, children: list[Wire]) -> list[Wire]:
        """Return `children` in the order in which they are stored and compared."""
        return sorted(children, key=lambda child: tuple(child[name] for name in self.order))


class Collection:
    """Base of a synced collection; one instance per class lives in the registry."""

    name: ClassVar[str]
    serializer: ClassVar[type[RowSerializer]]
    conflicts: ClassVar[ConflictPolicy | Resolver] = ConflictPolicy.REJECT
    parent: ClassVar[str | None] = None  # the reference whose row hands its scopes down

    def own_scopes(self, row: Wire) -> set[str]:  # noqa: ARG002
        """Return the scopes that `row` is in, besides those of its parent."""
        return set()

    def judge(self, actor: Actor, before: Wire | None, after: Wire | None) -> Refusal | None:  # noqa: ARG002
        """Return why `actor` may not turn `before` into `after`, or None if they may.

        `before` None is a create, `after` None a delete. The place for roles and for status
        machines. Pure: called with wire forms, possibly several times.
        """
        return None

    def assign(self, actor: Actor, rows: Mapping[str, Wire]) -> None:
        """Fill in the server-given fields of rows about to be created, all in one go.

        `rows` are keyed by id, parents before children. Called again, with what was filled in,
        when the database refused some of them; and the office may have given values of its own.
        """

    @functools.cached_property
    def model(self) -> type[models.Model]:
        """The model of the serializer."""
        return model_of(self.serializer)

    @functools.cached_property
    def table(self) -> str:
        """The model's table."""
        return self.model._meta.db_table

    @functools.cached_property
    def fields(self) -> tuple[FieldSpec, ...]:
        """The columns that travel, in the serializer's order."""
        return _compile_fields(self.serializer(), self.model)

    @functools.cached_property
    def nested(self) -> tuple[NestedSpec, ...]:
        """The nested children, in the serializer's order."""
        return tuple(
            _compile_nested(name, field.child, self.model)
            for name, field in self.serializer().fields.items()
            if hasattr(field, "child") and hasattr(field.child, "fields")
        )

    @functools.cached_property
    def references(self) -> tuple[ReferenceSpec, ...]:
        """The fields that name other rows."""
        return tuple(
            ReferenceSpec(
                name=name,
                collection=collection_of(field.model).name if field.model else None,
                known=field.known,
            )
            for name, field in self.serializer().fields.items()
            if isinstance(field, ReferenceField)
        )

    @functools.cached_property
    def parent_collection(self) -> str | None:
        """The collection that `parent` refers to."""
        return next((r.collection for r in self.references if r.name == self.parent), None)

    @functools.cached_property
    def server_fields(self) -> frozenset[str]:
        """Names of the fields that only the server gives."""
        return frozenset(spec.name for spec in self.fields if spec.is_server)

    def defaults(self) -> Wire:
        """Return a new row's wire form before anything was said of it."""
        fresh = {spec.name: spec.default() for spec in self.fields if spec.is_default_computed}
        return {**self._fixed_defaults, **fresh}

    @functools.cached_property
    def _fixed_defaults(self) -> Wire:
        fixed = {spec.name: spec.default() for spec in self.fields if not spec.is_default_computed}
        return {**fixed, **{spec.name: [] for spec in self.nested}}


_collections: dict[str, Collection] = {}


def register(declared: type[Collection]) -> type[Collection]:
    """Class decorator: add a collection to the registry.

    Raises:
        ImproperlyConfigured: another class has taken the name.
    """
    known = _collections.get(declared.name)
    if known is not None and type(known).__qualname__ != declared.__qualname__:
        message = f"collection {declared.name!r} is declared twice"
        raise ImproperlyConfigured(message)
    _collections[declared.name] = declared()
    ranked_collections.cache_clear()
    return declared


def get_collection(name: str) -> Collection | None:
    """Return the collection of that name, or None."""
    return _collections.get(name)


def collection_of(model: type[models.Model]) -> Collection:
    """Return the collection that syncs `model`.

    Raises:
        ImproperlyConfigured: none does.
    """
    for collection in _collections.values():
        if collection.model is model._meta.concrete_model:
            return collection
    message = f"{model.__name__} has no collection: register one in its app's collections.py"
    raise ImproperlyConfigured(message)


@functools.cache
def ranked_collections() -> dict[str, Collection]:
    """Return all collections by name, each behind those that it refers to.

    Raises:
        ImproperlyConfigured: collections refer to each other in a circle.
    """
    ranked: dict[str, Collection] = {}
    waiting = dict(sorted(_collections.items()))
    while waiting:
        ready = [n for n, c in waiting.items() if _targets(c) <= ranked.keys()]
        if not ready:
            message = f"these collections refer to each other in a circle: {sorted(waiting)}"
            raise ImproperlyConfigured(message)
        ranked.update({name: waiting.pop(name) for name in ready})
    return ranked


def heirs(name: str) -> list[Collection]:
    """Return the collections whose rows take their scopes from rows of collection `name`."""
    return [c for c in ranked_collections().values() if c.parent_collection == name]


def _targets(collection: Collection) -> set[str]:
    names = {reference.collection for reference in collection.references}
    return {name for name in names if name is not None and name != collection.name}


def _compile_fields(
    serializer: serializers.BaseSerializer[Any], model: type[models.Model]
) -> tuple[FieldSpec, ...]:
    return tuple(
        _compile_field(name, field, model)
        for name, field in serializer.fields.items()  # type: ignore[attr-defined]
        if not hasattr(field, "child") or not hasattr(field.child, "fields")
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
        is_default_computed=callable(model_field.default),
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


def _compile_nested(name: str, child: Any, parent: type[models.Model]) -> NestedSpec:
    model = model_of(type(child))
    link = next(f for f in model._meta.local_fields if f.related_model is parent)
    fields = _compile_fields(child, model)
    ordering: Iterable[str] = [str(o) for o in model._meta.ordering or ()]
    return NestedSpec(
        name=name,
        model=model,
        fields=fields,
        parent=FieldSpec(
            name=link.name,
            attname=link.attname,
            column=str(link.column),
            pg_type="uuid",
            render=str,
            default=lambda: None,
            is_default_computed=False,
            is_server=True,
        ),
        order=(*(o for o in ordering if o != "id"), "id"),
    )
