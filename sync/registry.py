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
from collections.abc import Mapping
from typing import ClassVar

from django.core.exceptions import ImproperlyConfigured
from django.db import models

from sync.fields import (
    FieldSpec,
    NestedSpec,
    ReferenceSpec,
    compile_fields,
    compile_nested,
    is_list_of_children,
)
from sync.plan import Rules
from sync.serializers import ReferenceField, RowSerializer, model_of
from sync.types import Actor, ConflictPolicy, NestedPolicy, Refusal, Wire
from sync.versioning import Resolver


class Collection:
    """Base of a synced collection; one instance per class lives in the registry."""

    name: ClassVar[str]
    serializer: ClassVar[type[RowSerializer]]
    conflicts: ClassVar[ConflictPolicy | Resolver] = ConflictPolicy.REJECT
    parent: ClassVar[str | None] = None  # the reference whose row hands its scopes down
    children: ClassVar[Mapping[str, NestedPolicy]] = {}  # what a list in an update means
    grants_scopes: ClassVar[bool] = False  # whether its rows have a say in which scopes users hold

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
        return compile_fields(self.serializer(), self.model)

    @functools.cached_property
    def nested(self) -> tuple[NestedSpec, ...]:
        """The nested children, in the serializer's order."""
        lists = {n: f for n, f in self.serializer().fields.items() if is_list_of_children(f)}
        unknown = self.children.keys() - lists.keys()
        if unknown:
            message = f"collection {self.name!r}: no lists of children: {sorted(unknown)}"
            raise ImproperlyConfigured(message)
        return tuple(
            compile_nested(name, field, self.model, self.children.get(name, NestedPolicy.REPLACE))
            for name, field in lists.items()
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
    def rules(self) -> Rules:
        """What the plan goes by, but for the collection's rank."""
        references = {r.name: r.collection for r in self.references if r.collection is not None}
        merged = [s for s in self.nested if s.policy is NestedPolicy.MERGE_BY_ID]
        return Rules(
            conflicts=type(self).conflicts,  # a function stays one; it is no method
            references=references,
            parent=self.parent,
            server_fields=self.server_fields,
            merges={spec.name: spec.merge for spec in merged},
            judge=self.judge,
        )

    @functools.cached_property
    def server_fields(self) -> frozenset[str]:
        """Names of the fields that only the server gives."""
        return frozenset(spec.name for spec in self.fields if spec.is_server)

    def defaults(self) -> Wire:
        """Return a new row's wire form before anything was said of it."""
        row = dict(self._fixed_defaults)
        for spec in self._computed_defaults:
            row[spec.name] = spec.default()
        for nested in self.nested:
            row[nested.name] = []
        return row

    @functools.cached_property
    def _fixed_defaults(self) -> Wire:
        return {s.name: None if s.is_default_computed else s.default() for s in self.fields}

    @functools.cached_property
    def _computed_defaults(self) -> list[FieldSpec]:
        return [spec for spec in self.fields if spec.is_default_computed]


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
    ranked_rules.cache_clear()
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


@functools.cache
def ranked_rules() -> dict[str, Rules]:
    """Return every collection's rules, ranked."""
    ranked = enumerate(ranked_collections().items())
    return {name: dataclasses.replace(found.rules, rank=rank) for rank, (name, found) in ranked}


def heirs(name: str) -> list[Collection]:
    """Return the collections whose rows take their scopes from rows of collection `name`."""
    return [c for c in ranked_collections().values() if c.parent_collection == name]


def _targets(collection: Collection) -> set[str]:
    names = {reference.collection for reference in collection.references}
    return {name for name in names if name is not None and name != collection.name}
