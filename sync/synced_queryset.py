"""Querysets and managers whose writes reach the feed, and that refuse what would not.

    Site.objects.filter(…).update(customer="…")   one lock, one edit of all rows, one transaction

They are the managers of every synced model, the one that Django itself uses for related rows,
cascades and fixtures included; `sync.synced_model` sees to that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection as Sized, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, Self

from django.db import models

from sync import instances, local_edits, transactions
from sync.errors import BypassesFeed, EditRefused
from sync.registry import collection_of
from sync.tenancy import TENANT_COLUMN
from sync.types import Mutation, Outcome

if TYPE_CHECKING:
    from uuid import UUID

_FIXTURES = (
    "Call save(), bulk_create() or local_edits.apply. Fixtures cannot hold synced rows; "
    "a whole database moves by pg_dump, feed and all."
)


class SyncedQuerySet(models.QuerySet[Any]):
    """A queryset whose writes reach the feed."""

    _db: str | None
    _fields: tuple[str, ...] | None

    def only(self, *fields: Any) -> Self:
        """Defer all but `fields`, and what an instance must know of itself to be saved."""
        return super().only(*fields, TENANT_COLUMN, "version")

    def bulk_create(
        self,
        objs: Iterable[Any],
        batch_size: int | None = None,
        ignore_conflicts: bool = False,  # noqa: FBT001, FBT002
        update_conflicts: bool = False,  # noqa: FBT001, FBT002
        update_fields: Sized[str] | None = None,
        unique_fields: Sized[str] | None = None,
    ) -> list[Any]:
        """Create the rows in one transaction, whatever `batch_size` is; return them.

        Raises:
            BypassesFeed: with options that would skip or overwrite rows.
            EditRefused: one is not valid, or there is another row of its id.
        """
        del batch_size, update_fields, unique_fields  # the last two go with update_conflicts
        instances.check_database(self._db)
        if ignore_conflicts or update_conflicts:
            raise BypassesFeed(
                "bulk_create with ignore_conflicts or update_conflicts",
                "Read which rows exist, then bulk_create() the others and bulk_update() these.",
            )
        rows = list(objs)
        instances.insert(self.model, rows)
        return rows

    def bulk_update(
        self, objs: Iterable[Any], fields: Iterable[str], batch_size: int | None = None
    ) -> int:
        """Write `fields` of the rows in one transaction; return their number.

        Raises:
            BypassesFeed: a field is not to be written, or a row was never read.
            EditRefused: one is not valid, or was edited meanwhile; nothing was written.
        """
        del batch_size
        instances.check_database(self._db)
        rows, names = list(objs), list(fields)
        if not names:
            message = "Field names must be given to bulk_update()."
            raise ValueError(message)
        attnames = [spec.attname for spec in instances.specs_of(self.model, names)]
        instances.write(self.model, rows, [attnames] * len(rows))
        return len(rows)

    def update(self, **values: Any) -> int:
        """Set plain values on all rows found; return their number.

        A row given as a value narrows the update to its tenant: no other tenant's can refer to it.

        Raises:
            BypassesFeed: a field is not to be written, or a value is an expression.
            EditRefused: a value is not valid; nothing was written.
        """
        self._not_support_combined_queries("update")  # type: ignore[attr-defined]
        if self.query.is_sliced:
            message = "Cannot update a query once a slice has been taken."
            raise TypeError(message)
        given = {n: value for n, value in values.items() if isinstance(value, models.Model)}
        if given:
            self._result_cache = None
            return self._of_tenants(given.values()).update(
                **values | {name: row.pk for name, row in given.items()}
            )
        plain = {instances.specs_of(self.model, [n])[0].attname: v for n, v in values.items()}
        data = instances.render(instances.specs_of(self.model, plain), plain)
        name = collection_of(self.model).name
        return self._edit(
            lambda row_id, version: local_edits.update(name, row_id, data, base_version=version)
        )

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete all rows found; return their number, as Django does.

        Raises:
            EditRefused: other rows refer to one of them; nothing was deleted.
        """
        self._not_support_combined_queries("delete")  # type: ignore[attr-defined]
        if self.query.is_sliced:
            message = "Cannot use 'limit' or 'offset' with delete()."
            raise TypeError(message)
        name = collection_of(self.model).name
        deleted = self._edit(
            lambda row_id, version: local_edits.delete(name, row_id, base_version=version)
        )
        return deleted, {self.model._meta.label: deleted} if deleted else {}

    delete.queryset_only = True  # type: ignore[attr-defined]  # no Site.objects.delete()

    def get_or_create(
        self, defaults: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> tuple[Any, bool]:
        """Return the row and whether it is new; also when somebody creates it at that moment.

        Raises:
            EditRefused: there is none, and the new one is not valid.
        """
        try:
            return super().get_or_create(defaults, **kwargs)
        except EditRefused:
            found = self.filter(**kwargs).first()
            if found is None:
                raise
            return found, False

    def _of_tenants(self, rows: Iterable[models.Model]) -> Self:
        found = self
        for row in rows:
            if hasattr(row, TENANT_COLUMN):
                found = found.filter(**{TENANT_COLUMN: getattr(row, TENANT_COLUMN)})
        return found

    def _edit(self, mutation_of: Callable[[str, int], Mutation]) -> int:
        """Carry out one mutation for each row found; return how many took effect."""
        instances.check_database(self._db)
        if self._fields is not None or self.query.distinct_fields:
            message = "Cannot write rows after .values(), .values_list() or .distinct(*fields)."
            raise TypeError(message)

        def work(_: bool) -> int:  # noqa: FBT001  # the signature that `run` calls
            edits: dict[UUID, list[Mutation]] = {}
            for tenant_id, row_id, version in self._lock():
                edits.setdefault(tenant_id, []).append(mutation_of(str(row_id), version))
            done = local_edits.carry_out(edits)
            results = [result for edited in done.values() for result in edited.results]
            return sum(result.outcome in _MATCHED for result in results)

        count = transactions.run(work)
        self._result_cache = None
        return count

    def _lock(self) -> list[tuple[UUID, UUID, int]]:
        """Return (tenant, id, version) of the rows found, locked in the order of `storage.lock`.

        So the filter holds until COMMIT: of two who set `assigned` where it is `open`, one finds
        nothing. What a DISTINCT finds cannot be locked; the version guards it.
        """
        rows = self.order_by(TENANT_COLUMN, "id").select_related(None).prefetch_related(None)
        if not rows.query.distinct:
            rows = rows.select_for_update(of=("self",), no_key=True)
        found = rows.only("id")
        return [(row.tenant_id, row.pk, row.version) for row in found]

    def _insert(self, *_: Any, **__: Any) -> NoReturn:
        raise BypassesFeed(f"Inserting {self.model.__name__} rows by save_base()", _FIXTURES)

    def _update(self, *_: Any, **__: Any) -> NoReturn:
        raise BypassesFeed(f"Updating {self.model.__name__} rows by save_base()", _FIXTURES)

    def _raw_delete(self, using: str | None) -> NoReturn:  # noqa: ARG002
        raise BypassesFeed(f"_raw_delete of {self.model.__name__} rows", "Use delete().")


_MATCHED = frozenset({Outcome.UPDATED, Outcome.MERGED, Outcome.UNCHANGED, Outcome.DELETED})

SyncedManager = models.Manager.from_queryset(SyncedQuerySet)


class NestedQuerySet(models.QuerySet[Any]):
    """Nested children are read here and written with their parent."""

    def refuse_write(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse any write.

        Raises:
            BypassesFeed: always.
        """
        raise BypassesFeed(
            f"Writing {self.model.__name__} by itself",
            "Send the whole list with its parent: local_edits.apply(tenant_id, [update(…)]).",
        )

    bulk_create = bulk_update = create = update = delete = refuse_write
    _insert = _update = _raw_delete = refuse_write


NestedManager = models.Manager.from_queryset(NestedQuerySet)
