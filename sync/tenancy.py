"""Keys that carry the tenant, so that the database itself keeps tenants apart.

    site        PRIMARY KEY (tenant_id, id)
    work_order  PRIMARY KEY (tenant_id, id)
                FOREIGN KEY (tenant_id, site_id) -> site (tenant_id, id)

Two tenants may use the same row id without noticing each other, and no row can point at another
tenant's. Django sees `id` as the primary key; `TenantKeys` gives every model the real ones, and
the policy of row-level security with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models.base import ModelBase
from django.db.models.constraints import BaseConstraint
from django.db.models.fields.related_descriptors import ReverseManyToOneDescriptor
from django.utils.functional import cached_property

from sync.row_security import SETTING

if TYPE_CHECKING:
    from collections.abc import Sequence


TENANT_COLUMN = "tenant_id"
NOBODYS_ID = "00000000-0000-0000-0000-000000000000"
# The tenant, as indexes of lists begin with it and lists ask for it. One that began with the
# column would look to PostgreSQL as good as the key until the table is first analysed: a check of
# a reference would read a whole tenant. Spelt without parameters, as an index has to be.
LISTED_TENANT = models.Func(
    models.F(TENANT_COLUMN),
    template=f"NULLIF(%(expressions)s, '{NOBODYS_ID}'::uuid)",
    output_field=models.UUIDField(),
)


class TenantRows(ReverseManyToOneDescriptor):  # type: ignore[type-arg]  # not at run time
    """`site.work_orders`: those of the site's tenant only.

    Django looks for rows that name the site's id, and another tenant may use the same one:
    `site.work_orders.all().delete()` would reach into that tenant.
    """

    @cached_property
    def related_manager_cls(self) -> Any:
        """The class of the manager that reading the attribute gives."""
        ids_alone: Any = super().related_manager_cls

        class TenantRelatedManager(ids_alone):  # type: ignore[misc]  # made by a function
            def __init__(self, instance: models.Model) -> None:
                super().__init__(instance)
                self.core_filters[TENANT_COLUMN] = getattr(instance, TENANT_COLUMN)

            def __call__(self, *, manager: str) -> Any:
                chosen = super().__call__(manager=manager)
                chosen.core_filters[TENANT_COLUMN] = getattr(self.instance, TENANT_COLUMN)
                return chosen

        return TenantRelatedManager


class TenantForeignKey(models.ForeignKey[Any, Any]):
    """A reference to a row of the same tenant; every join on it compares the tenants too.

    Deleting the referenced row is refused (`PROTECT`) unless told otherwise. The database's own
    constraint is a `TenantReference`, which the model's metaclass adds.
    """

    related_accessor_class = TenantRows

    def __init__(self, to: Any, on_delete: Any = models.PROTECT, **kwargs: Any) -> None:
        kwargs["db_constraint"] = False
        super().__init__(to, on_delete, **kwargs)

    def get_extra_restriction(self, alias: str, related_alias: str) -> Any:
        """Return the join's second condition: `alias` is the referenced table, the other ours."""
        theirs: Any = self.remote_field.model._meta.get_field(TENANT_COLUMN)
        ours: Any = self.model._meta.get_field(TENANT_COLUMN)
        return theirs.get_lookup("exact")(theirs.get_col(alias), ours.get_col(related_alias))

    def get_extra_descriptor_filter(self, instance: models.Model) -> dict[str, Any]:
        """Return what `row.site` filters by besides the id."""
        return {TENANT_COLUMN: getattr(instance, TENANT_COLUMN)}


class _KeyConstraint(BaseConstraint):
    """A key made by ALTER TABLE after the tables exist; the database alone judges it."""

    def constraint_sql(self, model: Any, schema_editor: Any) -> str:
        sql = self.create_sql(model, schema_editor)
        if sql:
            schema_editor.deferred_sql.append(sql)
        return ""

    def remove_sql(self, model: Any, schema_editor: Any) -> str:
        """Return the ALTER TABLE that drops the key."""
        quote = schema_editor.quote_name
        table = quote(model._meta.db_table)
        return f"ALTER TABLE {table} DROP CONSTRAINT {quote(self.name)}"

    def validate(self, *args: Any, **kwargs: Any) -> None:
        """Leave the verdict to the database."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.deconstruct() == other.deconstruct()

    def __hash__(self) -> int:
        return hash(self.name)


class TenantPrimaryKey(_KeyConstraint):
    """Replaces the primary key on `id` by one on (tenant_id, …, id)."""

    def __init__(self, *, fields: Sequence[str], name: str) -> None:
        self.fields = tuple(fields)
        super().__init__(name=name)

    def create_sql(self, model: Any, schema_editor: Any) -> str:
        """Return the ALTER TABLE that swaps the keys."""
        quote = schema_editor.quote_name
        table = model._meta.db_table
        get = model._meta.get_field
        columns = ", ".join(quote(get(name).column) for name in self.fields)
        return (
            f"ALTER TABLE {quote(table)} DROP CONSTRAINT IF EXISTS {quote(table + '_pkey')}, "
            f"ADD CONSTRAINT {quote(self.name)} PRIMARY KEY ({columns})"
        )

    def deconstruct(self) -> tuple[str, Any, dict[str, Any]]:
        """Return how to make this constraint again, as migrations write it."""
        path, args, kwargs = super().deconstruct()
        return path, args, {**kwargs, "fields": self.fields}


class TenantReference(_KeyConstraint):
    """FOREIGN KEY (tenant_id, `field`) to (tenant_id, `to_column`) of the referenced model."""

    def __init__(
        self, *, field: str, name: str, to: str = "", to_column: str = "", cascade: bool = False
    ) -> None:
        self.field = field
        self.to = to  # another model's label, for a column that is no foreign key to Django
        self.to_column = to_column
        self.cascade = cascade
        super().__init__(name=name)

    def create_sql(self, model: Any, schema_editor: Any) -> str:
        """Leave the ALTER TABLE to the migration's end; the key is judged at once, not at commit.

        Until then the referenced table may lack the primary key that this one needs.
        """
        quote = schema_editor.quote_name
        meta = model._meta
        field = meta.get_field(self.field)
        target = meta.apps.get_model(self.to) if self.to else field.related_model
        remote = target._meta
        column = self.to_column or remote.pk.column
        action = " ON DELETE CASCADE" if self.cascade else ""
        schema_editor.deferred_sql.append(
            f"ALTER TABLE {quote(meta.db_table)} ADD CONSTRAINT {quote(self.name)} "
            f"FOREIGN KEY ({TENANT_COLUMN}, {quote(field.column)}) "
            f"REFERENCES {quote(remote.db_table)} ({TENANT_COLUMN}, {quote(column)}){action}"
        )
        return ""

    def deconstruct(self) -> tuple[str, Any, dict[str, Any]]:
        """Return how to make this constraint again, as migrations write it."""
        path, args, kwargs = super().deconstruct()
        given = {"to": self.to, "to_column": self.to_column, "cascade": self.cascade}
        kept = {name: value for name, value in given.items() if value}
        return path, args, {**kwargs, "field": self.field, **kept}


class TenantPolicy(_KeyConstraint):
    """Row-level security: whoever is not the table's owner meets one tenant's rows only.

    `column` holds the tenant's id. Under a policy PostgreSQL uses no index by a condition that
    might tell something of other tenants' rows: one with a cast, a COALESCE or an operator that is
    not marked LEAKPROOF. Such conditions are to be spelt otherwise (as `LISTED_TENANT` is).
    """

    def __init__(self, *, name: str, column: str = TENANT_COLUMN) -> None:
        self.column = column
        super().__init__(name=name)

    def create_sql(self, model: Any, schema_editor: Any) -> str:
        """Return the statements that switch it on."""
        quote = schema_editor.quote_name
        table, column = quote(model._meta.db_table), quote(self.column)
        bound = f"current_setting('{SETTING}', true)"  # NULL or empty where nobody has set it
        # A subquery is evaluated once, and not for each row.
        holds = f"{column} = (SELECT nullif({bound}, '')::uuid)"
        return (
            f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY; "
            f"CREATE POLICY {quote(self.name)} ON {table} USING ({holds}) WITH CHECK ({holds})"
        )

    def remove_sql(self, model: Any, schema_editor: Any) -> str:
        """Return the statements that switch it off."""
        quote = schema_editor.quote_name
        table = quote(model._meta.db_table)
        return (
            f"DROP POLICY {quote(self.name)} ON {table}; "
            f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY"
        )

    def deconstruct(self) -> tuple[str, Any, dict[str, Any]]:
        """Return how to make this constraint again, as migrations write it."""
        path, args, kwargs = super().deconstruct()
        if self.column != TENANT_COLUMN:
            kwargs["column"] = self.column
        return path, args, kwargs


class TenantKeys(ModelBase):
    """Metaclass that gives a concrete model its tenant keys, so that none can be forgotten."""

    def __new__(mcs, name: str, bases: tuple[type, ...], attrs: dict[str, Any], **kw: Any) -> Any:
        """Return the new model; abstract ones and migration states keep what they were given."""
        model: Any = super().__new__(mcs, name, bases, attrs, **kw)
        meta = model._meta
        if not (meta.abstract or meta.proxy):
            meta.constraints = [*meta.constraints, *key_constraints(model)]
            meta.original_attrs["constraints"] = meta.constraints  # what makemigrations reads
        return model


def key_constraints(model: Any) -> list[BaseConstraint]:
    """Return the keys, references and policy that `model` needs, in the order to be made."""
    meta = model._meta
    references = [f for f in meta.local_fields if isinstance(f, TenantForeignKey)]
    parents = [f.name for f in references if f.name == getattr(model, "nested_in", None)]
    return [
        TenantPrimaryKey(fields=[TENANT_COLUMN, *parents, "id"], name=f"{meta.db_table}_key"),
        *(
            TenantReference(
                field=field.name,
                name=f"{meta.db_table}_{field.name}_ref",
                cascade=field.name in parents,
            )
            for field in references
        ),
        TenantPolicy(name=f"{meta.db_table}_tenant"),
    ]
