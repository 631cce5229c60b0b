"""The abstract models of rows that sync: what a project's own models inherit from.

    class Site(SyncedModel):
        name = models.CharField(max_length=200)
        territory = TenantForeignKey(Territory)

`save()`, `delete()`, `bulk_create()`, `update()` and the admin all write through `local_edits`, so
the feed hears of every write. What would bypass it raises `BypassesFeed` and says what to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, NoReturn, Self

from django.db import models
from django.db.models.expressions import BaseExpression

from sync import local_edits
from sync.errors import BypassesFeed
from sync.ids import uuid7
from sync.registry import collection_of
from sync.tenancy import TenantKeys

ENGINE_FIELDS = ("tenant_id", "version", "field_versions", "created_at", "updated_at")


class SyncedQuerySet(models.QuerySet[Any]):
    """A queryset whose writes reach the feed."""

    def bulk_create(self, objs: Iterable[Any], *args: Any, **kwargs: Any) -> list[Any]:
        """Create the rows in one transaction.

        Raises:
            BypassesFeed: with options that would skip or overwrite rows.
        """
        if args or any(kwargs.get(name) for name in ("ignore_conflicts", "update_conflicts")):
            raise BypassesFeed("bulk_create with conflict options", "Use local_edits.apply.")
        rows = list(objs)
        local_edits.save(rows, is_new=True)
        for row in rows:
            row.remember()
        return rows

    def bulk_update(
        self, objs: Iterable[Any], fields: Iterable[str], batch_size: int | None = None
    ) -> int:
        """Write `fields` of the rows in one transaction; return their number."""
        del batch_size
        rows = list(objs)
        names = [self.model._meta.get_field(name).attname for name in fields]
        local_edits.save(rows, is_new=False, changed=[names] * len(rows))
        for row in rows:
            row.remember()
        return len(rows)

    def update(self, **kwargs: Any) -> int:
        """Set plain values on all rows found; return their number.

        Raises:
            BypassesFeed: a value is an expression, which only the database could compute.
        """
        for name, value in kwargs.items():
            if isinstance(value, BaseExpression | models.F):
                raise BypassesFeed(
                    f"update({name}=<expression>)", "Compute the value and use bulk_update."
                )
        rows = list(self)
        for row in rows:
            for name, value in kwargs.items():
                setattr(row, name, value)
        return self.bulk_update(rows, list(kwargs)) if rows else 0

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete all rows found; return their number, as Django does."""
        deleted = local_edits.remove(self.model, self.values_list("tenant_id", "pk"))
        return deleted, {self.model._meta.label: deleted}

    delete.alters_data = True  # type: ignore[attr-defined]

    def _raw_delete(self, using: str | None) -> NoReturn:  # noqa: ARG002
        raise BypassesFeed("_raw_delete", "Use delete().")


SyncedManager = models.Manager.from_queryset(SyncedQuerySet)


class SyncedModel(models.Model, metaclass=TenantKeys):
    """A row that devices keep; belongs to one tenant for good.

    `version` counts its edits, densely. `field_versions` maps a field to the version that last
    changed it; what is missing there was last written by version 1.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant_id = models.UUIDField(editable=False)
    version = models.BigIntegerField(default=0, editable=False)
    field_versions = models.JSONField(default=dict, editable=False)
    created_at = models.DateTimeField(editable=False)
    updated_at = models.DateTimeField(editable=False)

    objects = SyncedManager()

    class Meta:
        abstract = True

    def save(self, **kwargs: Any) -> None:
        """Create the row, or write the fields that changed since it was read.

        Raises:
            EditRefused: not valid, or somebody else changed the same field meanwhile.
        """
        if self._state.adding:
            local_edits.save([self], is_new=True)
        else:
            changed = self._changed(kwargs.get("update_fields"))
            if not changed:
                return
            local_edits.save([self], is_new=False, changed=[changed])
        self.remember()

    def delete(self, **_: Any) -> tuple[int, dict[str, int]]:  # type: ignore[override]
        """Delete the row; devices get a tombstone.

        Raises:
            EditRefused: other rows refer to it.
        """
        deleted = local_edits.remove(type(self), [(self.tenant_id, self.pk)])
        return deleted, {self._meta.label: deleted}

    @classmethod
    def from_db(cls, db: str | None, field_names: Any, values: Any, **how: Any) -> Self:
        """Remember what was read, so that `save()` writes only what the code changed."""
        instance = super().from_db(db, field_names, values, **how)
        instance.remember()
        return instance

    def remember(self) -> None:
        """Take the attributes as they are for those of the stored row."""
        self._state.adding = False
        names = {spec.attname for spec in collection_of(type(self)).fields}
        self._read = {name: self.__dict__[name] for name in names & self.__dict__.keys()}

    def _changed(self, update_fields: Sequence[str] | None) -> list[str]:
        if update_fields is not None:
            return [self._meta.get_field(name).attname for name in update_fields]  # type: ignore[union-attr]
        return [
            spec.attname
            for spec in collection_of(type(self)).fields
            if spec.attname in self.__dict__
            and self.__dict__[spec.attname] != self._read.get(spec.attname)
        ]


class NestedQuerySet(models.QuerySet[Any]):
    """Nested children are read here and written with their parent."""

    def refuse_write(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse any write.

        Raises:
            BypassesFeed: always.
        """
        raise BypassesFeed(
            f"writing {self.model.__name__} by itself",
            "Send the whole list with its parent: local_edits.apply(tenant_id, [update(…)]).",
        )

    bulk_create = bulk_update = create = update = delete = _raw_delete = refuse_write


NestedManager = models.Manager.from_queryset(NestedQuerySet)


class NestedModel(models.Model, metaclass=TenantKeys):
    """A child that is edited with its parent; `nested_in` names the reference to it."""

    nested_in: ClassVar[str]

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant_id = models.UUIDField(editable=False)

    objects = NestedManager()

    class Meta:
        abstract = True

    def save(self, **_: Any) -> NoReturn:
        """Refuse: children are written with their parent.

        Raises:
            BypassesFeed: always.
        """
        type(self).objects.all().refuse_write()
        raise AssertionError

    def delete(self, **_: Any) -> NoReturn:  # type: ignore[override]
        """Refuse: children are written with their parent.

        Raises:
            BypassesFeed: always.
        """
        self.save()
