"""The abstract models of rows that sync: what a project's own models inherit from.

    class Site(SyncedModel):
        name = models.CharField(max_length=200)
        territory = TenantForeignKey(Territory)

`save()`, `delete()`, `bulk_create()`, `update()` and the admin all write through `local_edits`, so
the feed hears of every write. What would bypass it raises `BypassesFeed` and says what to do. SQL
that is written by hand goes unseen; `manage.py sync_check` finds what it did.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, NoReturn, Self

from django.db import models
from django.db.models.signals import pre_delete

from sync import instances, local_edits
from sync.errors import BypassesFeed
from sync.ids import uuid7
from sync.registry import collection_of
from sync.synced_queryset import NestedManager, NestedQuerySet, SyncedManager, SyncedQuerySet
from sync.tenancy import TENANT_COLUMN, TenantKeys
from sync.types import Outcome

__all__ = ["NestedModel", "SyncedManager", "SyncedModel", "SyncedQuerySet"]


class GuardedRows(TenantKeys):
    """Metaclass that closes the ways around a synced model's own methods.

    Django writes through the base manager (related rows, fixtures) and by its deletion collector
    (cascades); both are led to the feed or refused, whatever managers the model declares.
    """

    def __new__(mcs, name: str, bases: tuple[type, ...], attrs: dict[str, Any], **kw: Any) -> Any:
        """Return the new model, guarded.

        Raises:
            BypassesFeed: it declares a manager that would write past the feed.
        """
        model: Any = super().__new__(mcs, name, bases, attrs, **kw)
        if not model._meta.abstract:
            model.every_row = _make_manager(model)
            # The collector has no other hook: without a receiver it deletes by SQL of its own.
            pre_delete.connect(_refuse_cascade, sender=model)
        return model

    @property
    def _base_manager(cls) -> Any:
        """The manager that Django itself uses: all rows, and no way around the feed.

        Not declared in Meta, which migrations would record.
        """
        return cls.__dict__.get("every_row") or cls._meta.base_manager  # type: ignore[attr-defined]


class TenantRow(models.Model, metaclass=GuardedRows):
    """A row of one tenant, for good."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant_id = models.UUIDField(editable=False)

    class Meta:
        abstract = True

    def refresh_from_db(
        self,
        using: str | None = None,
        fields: Iterable[str] | None = None,
        from_queryset: Any = None,
    ) -> None:
        """Read the row again, or `fields` of it; never another tenant's row of the same id."""
        rows = type(self)._base_manager.using(using) if from_queryset is None else from_queryset
        for name in (TENANT_COLUMN, getattr(self, "nested_in", "")):
            attname = self._meta.get_field(name).attname if name else ""  # type: ignore[union-attr]
            if attname in self.__dict__:
                rows = rows.filter(**{attname: self.__dict__[attname]})
        super().refresh_from_db(using=using, fields=fields, from_queryset=rows)


class SyncedModel(TenantRow):
    """A row that devices keep.

    `version` counts its edits, densely. `field_versions` maps a field to the version that last
    changed it; what is missing there was last written by version 1.
    """

    version = models.BigIntegerField(default=0, editable=False)
    field_versions = models.JSONField(default=dict, editable=False)
    created_at = models.DateTimeField(editable=False)
    updated_at = models.DateTimeField(editable=False)

    objects = SyncedManager()

    class Meta:
        abstract = True

    def save(
        self,
        *,
        force_insert: bool | tuple[Any, ...] = False,
        force_update: bool = False,
        using: str | None = None,
        update_fields: Iterable[str] | None = None,
    ) -> None:
        """Create the row, or write the fields that changed since it was read.

        Raises:
            EditRefused: not valid, or somebody else changed the same field meanwhile.
            BypassesFeed: the engine's fields were changed, or the row was never read.
        """
        instances.check_database(using)
        wanted = None if update_fields is None else list(update_fields)
        if force_insert and (force_update or wanted):
            message = "Cannot force both insert and updating in model saving."
            raise ValueError(message)
        if wanted == []:
            return
        if force_insert or (self._state.adding and not force_update and wanted is None):
            instances.insert(type(self), [self])
            return
        names = instances.changed(self)
        if wanted is not None:
            # update_or_create() names every time; the engine's are unchanged, or it had raised.
            given = [name for name in wanted if name not in instances.TIMES]
            names = [spec.attname for spec in instances.specs_of(type(self), given)]
        if names:
            instances.write(type(self), [self], [names])

    def delete(
        self,
        using: str | None = None,
        keep_parents: bool = False,  # noqa: FBT001, FBT002
    ) -> tuple[int, dict[str, int]]:
        """Delete the row, whatever its version is by now; devices get a tombstone.

        Raises:
            EditRefused: other rows refer to it.
            BypassesFeed: the instance stands for another row than the one that was read.
        """
        del keep_parents
        instances.check_database(using)
        instances.check_key(self)
        name = collection_of(type(self)).name
        ending = local_edits.delete(name, str(self.pk))
        (result,) = local_edits.apply(self.tenant_id, [ending])
        is_deleted = result.outcome is Outcome.DELETED
        return int(is_deleted), {self._meta.label: 1} if is_deleted else {}

    @classmethod
    def from_db(cls, db: str | None, field_names: Any, values: Any, **how: Any) -> Self:
        """Remember what was read, so that `save()` writes only what the code changed."""
        instance = super().from_db(db, field_names, values, **how)
        instances.remember(instance)
        return instance

    def refresh_from_db(
        self,
        using: str | None = None,
        fields: Iterable[str] | None = None,
        from_queryset: Any = None,
    ) -> None:
        """Read the row again, or `fields` of it; edits then build on what was read.

        After a part of it, they still build on the version that was read before: the rest of the
        row may be older than the part.
        """
        names = None if fields is None else list(fields)
        super().refresh_from_db(using=using, fields=names, from_queryset=from_queryset)
        # `only()` reads the engine's fields along.
        instances.remember(self, None if names is None else {*names, *instances.ENGINE_FIELDS})


class NestedModel(TenantRow):
    """A child that is edited with its parent; `nested_in` names the reference to it."""

    nested_in: ClassVar[str]

    objects = NestedManager()

    class Meta:
        abstract = True

    def save(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: children are written with their parent.

        Raises:
            BypassesFeed: always.
        """
        type(self)._base_manager.all().refuse_write()
        raise AssertionError

    def delete(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: children are written with their parent.

        Raises:
            BypassesFeed: always.
        """
        self.save()


def _make_manager(model: Any) -> Any:
    """Return a manager of all rows of `model`; see that those that it declares know the feed."""
    is_nested = issubclass(model, NestedModel)
    base: Any = NestedQuerySet if is_nested else SyncedQuerySet
    for declared in model._meta.managers:
        if not issubclass(declared._queryset_class, base):  # noqa: SLF001  # has no public name
            raise BypassesFeed(
                f"The manager {model.__name__}.{declared.name}",
                f"Make it from {base.__name__}: models.Manager.from_queryset(…).",
            )
    manager: Any = NestedManager() if is_nested else SyncedManager()
    manager.model, manager.name, manager.auto_created = model, "_base_manager", True
    return manager


def _refuse_cascade(sender: type[models.Model], **_: Any) -> None:
    if not isinstance(sender, GuardedRows):
        return  # signals know classes by their address, which a test's next model may inherit
    raise BypassesFeed(
        f"Deleting {sender.__name__} rows in a cascade",
        "Delete them first, by their own delete(); then what they refer to.",
    )
