"""Model instances as edits: what `save()`, `bulk_create()` and `bulk_update()` ask of the log.

    instance, and what was read of it -> mutation -> local_edits -> instance, up to date

An instance remembers the row as it was read: so only what code has changed is written, and an edit
that somebody else made meanwhile is a conflict and not lost. What the engine cannot write raises
`BypassesFeed`.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Collection as Sized, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from django.db import DEFAULT_DB_ALIAS, models

from sync import local_edits, transactions
from sync.errors import BypassesFeed
from sync.fields import FieldSpec
from sync.registry import Collection, collection_of
from sync.tenancy import TENANT_COLUMN, TenantForeignKey
from sync.types import Mutation, Outcome, Result, RowKey

if TYPE_CHECKING:
    from uuid import UUID

_COUNTED = "The engine counts edits: write the fields that change, and leave this one alone."
_TIMED = "The engine notes when it writes: for a time of your own, add a field."
ENGINE_FIELDS: Final = {  # what to do instead of writing it
    "id": "To copy a row, give the copy another id and set `_state.adding = True`.",
    TENANT_COLUMN: "A row belongs to one tenant for good: create another one, and delete this.",
    "version": _COUNTED,
    "field_versions": _COUNTED,
    "created_at": _TIMED,
    "updated_at": _TIMED,
}
TIMES: Final = frozenset({"created_at", "updated_at"})
_MEMORY: Final = "_memory"  # where an instance keeps what was read of it
_SHARED_IF_MUTABLE = (dict, list, set)  # JSON and arrays may be changed in place


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The row as it was read: column values by attribute, and the version that edits build on."""

    values: dict[str, Any]
    base_version: int | None  # None: the version was not read


def remember(
    instance: Any, names: Sized[str] | None = None, *, base_version: int | None = None
) -> None:
    """Take attributes for those of the stored row: all that are loaded, or `names`.

    With `names`, edits go on to build on the version that was read first, or on `base_version`.
    """
    before: Memory | None = instance.__dict__.get(_MEMORY)
    loaded = {
        field.attname: _snapshot(field.attname, instance.__dict__[field.attname])
        for field in instance._meta.concrete_fields
        if field.attname in instance.__dict__
        and (names is None or field.attname in names or field.name in names)
    }
    if names is not None and before is not None:
        loaded = {**before.values, **loaded}
        base_version = before.base_version if base_version is None else base_version
    elif base_version is None:
        base_version = loaded.get("version")
    instance.__dict__[_MEMORY] = Memory(values=loaded, base_version=base_version)


def changed(instance: Any) -> list[str]:
    """Return the attributes that code has set since the row was read.

    Raises:
        BypassesFeed: the row was never read, or one of them is not to be written.
    """
    now, memory = instance.__dict__, _memory(instance)
    names = [
        field.attname
        for field in instance._meta.concrete_fields
        if field.attname in now
        and not field.generated
        and (
            field.attname not in memory.values
            or now[field.attname] != memory.values[field.attname]
        )
    ]
    return [spec.attname for spec in specs_of(type(instance), names)]


def specs_of(model: type[models.Model], names: Iterable[str]) -> list[FieldSpec]:
    """Return the columns of `model` with these names, `site` and `site_id` alike, each once.

    Raises:
        FieldDoesNotExist: there is no such field.
        BypassesFeed: the field is the engine's, or does not travel.
    """
    collection = collection_of(model)
    known = {spec.attname: spec for spec in collection.fields}
    found: dict[str, FieldSpec] = {}
    for name in names:
        attname = "id" if name == "pk" else getattr(model._meta.get_field(name), "attname", name)
        if attname in ENGINE_FIELDS:
            raise BypassesFeed(
                f"Writing {model.__name__}.{attname}",
                ENGINE_FIELDS[attname],
                "would break what devices build on",
            )
        if attname not in known:
            raise BypassesFeed(
                f"Writing {model.__name__}.{name}",
                f"Add the field to {collection.serializer.__name__}, or keep it in another model; "
                "nested children are written by local_edits.apply.",
                f"is beyond the engine: no column of the collection {collection.name!r}",
            )
        found[attname] = known[attname]
    return list(found.values())


def render(specs: Iterable[FieldSpec], values: dict[str, Any]) -> dict[str, Any]:
    """Return `values`, which are keyed by attribute, in wire form.

    Raises:
        BypassesFeed: one of them is an expression, which only the database could compute.
    """
    data = {}
    for spec in specs:
        value = values[spec.attname]
        if hasattr(value, "resolve_expression"):
            raise BypassesFeed(
                f"Setting {spec.attname} to an expression",
                "Read the rows, compute the value in Python, and use bulk_update.",
                "would let the database compute what no device is told",
            )
        data[spec.name] = spec.render(value)
    return data


def check_database(alias: str | None) -> None:
    """See that rows are written where their feed is.

    Raises:
        BypassesFeed: it is another database.
    """
    if alias not in {None, DEFAULT_DB_ALIAS}:
        raise BypassesFeed(
            f"Writing to the database {alias!r}",
            "Leave out `using`.",
            f"would part the rows from their feed, which is in {DEFAULT_DB_ALIAS!r}",
        )


def check_key(instance: Any) -> None:
    """See that the instance still stands for the row that was read.

    Raises:
        BypassesFeed: it has another id or tenant by now.
    """
    memory: Memory | None = instance.__dict__.get(_MEMORY)
    read = memory.values if memory is not None else {}
    for name in ("id", TENANT_COLUMN):
        if name in read and str(read[name]) != str(getattr(instance, name)):
            raise BypassesFeed(
                f"Writing a {type(instance).__name__} under another {name}",
                ENGINE_FIELDS[name],
                "would change another row",
            )


def insert(model: type[models.Model], instances: Sequence[Any]) -> None:
    """Create the rows, of one tenant or several, in one transaction.

    Raises:
        BypassesFeed: a value is not the instance's to give, or the tenant is missing.
        EditRefused: one is not valid, or there is another row of its id; nothing was written.
    """
    collection = collection_of(model)
    pairs = []
    for instance in instances:
        _check_model(model, instance)
        _fill_key(instance)
        _check_unsynced(collection, instance)
        values = {spec.attname: getattr(instance, spec.attname) for spec in collection.fields}
        data = render(collection.fields, values)
        pairs.append((instance, local_edits.create(collection.name, data, str(instance.pk))))
    for instance, result, edited in _apply(pairs):
        if RowKey(collection.name, result.mutation.id) in edited.rows:
            instance.created_at = instance.updated_at = edited.at
        _bring_up_to_date(collection, instance, result, edited, kept=())
        instance._state.adding = False
        instance._state.db = DEFAULT_DB_ALIAS
        remember(instance)


def write(
    model: type[models.Model], instances: Sequence[Any], names: Sequence[Sized[str]]
) -> None:
    """Write attributes of instances that were read: of each those in its place in `names`.

    Raises:
        BypassesFeed: one was never read, was read in part, or has another key by now.
        EditRefused: one is not valid, or was edited meanwhile; nothing was written.
    """
    collection = collection_of(model)
    pairs, kept_of = [], []
    for instance, written in zip(instances, names, strict=True):
        _check_model(model, instance)
        base_version = _base_version(instance)
        specs = [spec for spec in collection.fields if spec.attname in written]
        data = render(specs, {spec.attname: getattr(instance, spec.attname) for spec in specs})
        row_id = str(instance.pk)
        pairs.append(
            (
                instance,
                local_edits.update(collection.name, row_id, data, base_version=base_version),
            )
        )
        kept_of.append(_unsaved(collection, instance) - set(written))
    for (instance, result, edited), kept in zip(_apply(pairs), kept_of, strict=True):
        _bring_up_to_date(collection, instance, result, edited, kept)
        clean = {field.attname for field in instance._meta.concrete_fields} - kept
        remember(instance, clean, base_version=_next_base(instance, result, edited, kept))


def _apply(
    pairs: Sequence[tuple[Any, Mutation]],
) -> Iterator[tuple[Any, Result, local_edits.Edited]]:
    """Carry all mutations out in one transaction; yield what became of each, in their order."""
    places: dict[UUID, list[int]] = {}
    for place, (instance, _) in enumerate(pairs):
        places.setdefault(instance.tenant_id, []).append(place)
    edits = {tenant: [pairs[place][1] for place in of] for tenant, of in places.items()}
    done = transactions.run(lambda _: local_edits.carry_out(edits)) if edits else {}
    results = {
        place: (result, done[tenant])
        for tenant, of in places.items()
        for place, result in zip(of, done[tenant].results, strict=True)
    }
    return ((instance, *results[place]) for place, (instance, _) in enumerate(pairs))


def _bring_up_to_date(
    collection: Collection,
    instance: Any,
    result: Result,
    edited: local_edits.Edited,
    kept: Sized[str],
) -> None:
    """Take over what was stored otherwise than the instance has it: numbers, merges, trimmed text.

    `kept` are attributes that code has set and not saved.
    """
    instance.version = result.version
    state = edited.rows.get(result.mutation.key)
    if state is None:
        return
    instance.field_versions = dict(state.field_versions)
    instance.updated_at = edited.at
    for spec in collection.fields:
        is_loaded = spec.attname in instance.__dict__ and spec.attname not in kept
        stored = state.data[spec.name]
        if is_loaded and spec.render(getattr(instance, spec.attname)) != stored:
            field: Any = instance._meta.get_field(spec.attname)
            setattr(instance, spec.attname, field.to_python(stored))


def _next_base(
    instance: Any, result: Result, edited: local_edits.Edited, kept: Sized[str]
) -> int | None:
    """Return the version that the instance's next edit builds on; None leaves it as it was.

    It moves on only where the instance holds all of the row: else a later save would take what
    somebody else changed for seen.
    """
    is_partly_seen = result.outcome is Outcome.MERGED and (kept or instance.get_deferred_fields())
    was_written = result.mutation.key in edited.rows
    return result.version if was_written and not is_partly_seen else None


def _unsaved(collection: Collection, instance: Any) -> set[str]:
    values = _memory(instance).values
    return {
        spec.attname
        for spec in collection.fields
        if spec.attname in instance.__dict__
        and (spec.attname not in values or instance.__dict__[spec.attname] != values[spec.attname])
    }


def _memory(instance: Any) -> Memory:
    memory: Memory | None = instance.__dict__.get(_MEMORY)
    if memory is None or instance._state.adding:
        raise BypassesFeed(
            f"Updating a {type(instance).__name__} that was never read",
            "Read it first, or use QuerySet.update(); to create a row, call save() alone.",
            "would overwrite what devices have sent, unseen",
        )
    return memory


def _base_version(instance: Any) -> int:
    """Return the version that the instance was read at."""
    memory = _memory(instance)
    check_key(instance)
    if memory.base_version is None:
        raise BypassesFeed(
            f"Saving a {type(instance).__name__} that was read without its version",
            "Name `version` in only(), or call refresh_from_db() first.",
            "would overwrite what devices have sent since",
        )
    return memory.base_version


def _fill_key(instance: Any) -> None:
    """Give a new row its id, and the tenant of the rows that it refers to."""
    if instance.pk is None:
        instance.pk = instance._meta.pk.get_pk_value_on_save(instance)
    if instance.tenant_id is None:
        fields = [f for f in instance._meta.concrete_fields if isinstance(f, TenantForeignKey)]
        referred = [f.get_cached_value(instance, default=None) for f in fields]
        tenants = {getattr(row, TENANT_COLUMN) for row in referred if row is not None}
        if len(tenants) != 1:
            raise BypassesFeed(
                f"A {type(instance).__name__} without a tenant",
                "Set tenant_id.",
                "is in nobody's feed",
            )
        (instance.tenant_id,) = tenants


def _check_model(model: type[models.Model], instance: Any) -> None:
    if not isinstance(instance, model._meta.concrete_model or model):
        message = f"{model.__name__} expected, got {instance!r}"
        raise TypeError(message)


def _check_unsynced(collection: Collection, instance: Any) -> None:
    """Refuse values that the engine would drop, since they are in no collection."""
    known = {spec.attname for spec in collection.fields} | ENGINE_FIELDS.keys()
    for field in instance._meta.concrete_fields:
        value = instance.__dict__.get(field.attname)
        is_given = value is not None and not hasattr(value, "resolve_expression")
        if field.attname not in known and is_given and value != field.get_default():
            specs_of(type(instance), [field.name])


def _snapshot(name: str, value: Any) -> Any:
    is_shared = isinstance(value, _SHARED_IF_MUTABLE) and name not in ENGINE_FIELDS
    return copy.deepcopy(value) if is_shared else value
