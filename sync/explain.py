"""Explain why a row is, or is not, on a device: what operators are asked from the field.

    device --the project's resolver--> scopes that it holds
    row    --the log, and its parents--> scopes that it is in, and what puts it there
    both   --decide--> a verdict in one sentence, and what to do about it

The server keeps no state of devices: it knows what a pull brings, and not when that was pulled.
Reads the tables of the sync itself, as the audit does; writes nothing.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, assert_never

from django.db import connection
from django.utils.module_loading import import_string

from sync import quarantine, storage
from sync.conf import sync_settings
from sync.registry import ranked_collections
from sync.types import ChangeOp, KnownDevice, RowKey
from sync.wire import canonical_id, decode, is_uuid

if TYPE_CHECKING:
    import datetime
    from uuid import UUID

    from sync.models import ParkedMutation

ANCESTORS_MAX: Final = 16  # rows looked up the line of parents; a circle ends here too

UNKNOWN: Final = (
    "There is no such row in this tenant: there never was, or it was deleted and its tombstone is "
    "pruned."
)
LOOK_AT_IT: Final = "Look at the id. A device that shows the row all the same has not pulled"

_STREAM = "SELECT head, floor FROM sync_stream WHERE tenant_id = %(tenant)s"
_CHANGES = """
SELECT collection, op, version, seq, changed_at, scopes, payload FROM sync_change
WHERE tenant_id = %(tenant)s AND collection = ANY(%(collections)s) AND row_id = %(row)s
"""
# Entries have no index by row; this one reads those of the tenant that a prune would.
_EXITS = """
SELECT scope, seq FROM sync_entry
WHERE tenant_id = %(tenant)s AND op <> 'upsert' AND op = 'scope_exit'
    AND collection = ANY(%(collections)s) AND row_id = %(row)s ORDER BY seq
"""


class Standing(enum.StrEnum):
    """What the server has of a row."""

    LIVE = "live"
    DELETED = "deleted"
    UNLOGGED = "unlogged"  # in its table, and not in the feed
    UNKNOWN = "unknown"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class InScope:
    """A scope that the row is in, and the rows that put it there: itself, or those above it."""

    scope: str
    is_held: bool
    sources: tuple[RowKey, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """A scope that the row has left, and the seq under which devices hear of it."""

    scope: str
    is_held: bool
    seq: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The newest change of the row."""

    key: RowKey
    op: ChangeOp
    version: int
    seq: int
    changed_at: datetime.datetime
    scopes: tuple[str, ...]
    payload: str | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What the server has of the row, as far as a device is concerned."""

    standing: Standing
    change: Change | None = None
    scopes: tuple[InScope, ...] = ()
    exits: tuple[Exit, ...] = ()

    @property
    def shared(self) -> list[str]:
        """The scopes that the device holds and the row is in."""
        return [each.scope for each in self.scopes if each.is_held]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """All that there is to say; `parked` is what the device sent and a reviewer has to settle."""

    device: KnownDevice
    head: int
    floor: int
    row: Row
    parked: tuple[ParkedMutation, ...]
    verdict: str
    advice: tuple[str, ...]


class CannotExplain(ValueError):
    """The question cannot be answered as it was asked; the message says why."""


def explain(device_id: UUID, row_id: str, collection: str | None = None) -> Explanation:
    """Return why the row is, or is not, on the device.

    Without a `collection`, the row is looked for in all of them.

    Raises:
        CannotExplain: there is no such device or collection, or several rows have the id.
    """
    device = _find_device(device_id)
    names = _names(collection)
    asked = canonical_id(row_id)
    row = _find_row(device, asked, names)
    head, floor = next(_read(_STREAM, tenant=device.actor.tenant_id), (0, 0))
    verdict, advice = decide(device, row, floor)
    return Explanation(
        device=device,
        head=head,
        floor=floor,
        row=row,
        parked=tuple(
            parked
            for parked in quarantine.list_open(device.actor, asked)
            if parked.collection in names
        ),
        verdict=verdict,
        advice=tuple(advice),
    )


def decide(device: KnownDevice, row: Row, floor: int) -> tuple[str, list[str]]:
    """Return the verdict, and what can be done about it."""
    verdict, advice = _decide_row(device, row, floor)
    if not device.refused:
        return verdict, advice
    return (
        f"The device is refused ({device.refused}) and hears of nothing; let in again: {verdict}",
        advice,
    )


def _decide_row(device: KnownDevice, row: Row, floor: int) -> tuple[str, list[str]]:
    match row.standing:
        case Standing.UNKNOWN:
            return UNKNOWN, [f"{LOOK_AT_IT} since seq {floor}, and pulls afresh when it comes."]
        case Standing.UNLOGGED:
            return (
                "Not on the device: the row is in its table and not in the feed.",
                ["Run sync_check, and do what it says."],
            )
        case Standing.DELETED:
            return f"Not on the device{_since(row)}: the row was deleted.", []
        case Standing.LIVE:
            return _decide_live(device, row)
        case _:
            assert_never(row.standing)


def _decide_live(device: KnownDevice, row: Row) -> tuple[str, list[str]]:
    if row.shared:
        return f"On the device{_since(row)}: it holds {_listed(row.shared)}.", []
    if not row.scopes:
        return (
            "Not on the device: the row is in no scope, so that nobody is told of it.",
            ["Give it what its scopes come from, or mend its collection's own_scopes."],
        )
    scopes = [each.scope for each in row.scopes]
    ways = [advice for scope in scopes if (advice := device.advise(scope))]
    verdict = f"Not on the device{_since(row)}: it holds none of {_listed(scopes)}."
    return verdict, ways or ["Let the device hold one of these scopes, or move the row."]


def _since(row: Row) -> str:
    """Return from which pull on the device knows, as far as it is told at all."""
    told = [each.seq for each in row.exits if each.is_held]
    if row.shared and row.change is not None:
        told.append(row.change.seq)
    return f" once it has pulled up to seq {max(told)}" if told else ""


def _listed(scopes: Iterable[str]) -> str:
    return ", ".join(scopes)


def _find_device(device_id: UUID) -> KnownDevice:
    path = sync_settings().device_resolver
    if not path:
        message = "SYNC['DEVICE_RESOLVER'] is not set: nobody knows the devices."
        raise CannotExplain(message)
    resolve: Any = import_string(path)
    device: KnownDevice | None = resolve(device_id)
    if device is None:
        message = f"There is no device {device_id}."
        raise CannotExplain(message)
    return device


def _names(collection: str | None) -> list[str]:
    known = list(ranked_collections())
    if collection is None:
        return known
    if collection not in known:
        message = f"There is no collection {collection!r}; there are {', '.join(known)}."
        raise CannotExplain(message)
    return [collection]


def _find_row(device: KnownDevice, row_id: str, names: Sequence[str]) -> Row:
    tenant_id, held = device.actor.tenant_id, device.actor.scopes
    changes = _read_changes(tenant_id, row_id, names)
    if len(changes) > 1:
        message = f"Rows of {', '.join(c.key.collection for c in changes)} have this id: name one."
        raise CannotExplain(message)
    if not changes:
        is_stored = _is_stored(tenant_id, row_id, names)
        return Row(standing=Standing.UNLOGGED if is_stored else Standing.UNKNOWN)
    (change,) = changes
    sources = _sources(tenant_id, change)
    exits = _read(_EXITS, tenant=tenant_id, row=row_id, collections=[change.key.collection])
    return Row(
        standing=Standing.LIVE if change.op is ChangeOp.UPSERT else Standing.DELETED,
        change=change,
        scopes=tuple(
            InScope(scope=scope, is_held=scope in held, sources=tuple(sources.get(scope, ())))
            for scope in change.scopes
        ),
        exits=tuple(Exit(scope=scope, is_held=scope in held, seq=seq) for scope, seq in exits),
    )


def _sources(tenant_id: UUID, change: Change) -> dict[str, list[RowKey]]:
    """Return which rows put this one into each scope: itself, or the rows above it.

    A tombstone has kept its scopes, and not what they came from.
    """
    found: dict[str, list[RowKey]] = {}
    step: Change | None = change
    for _ in range(ANCESTORS_MAX):
        if step is None or step.payload is None:
            break
        collection = ranked_collections()[step.key.collection]
        data = decode(step.payload)
        for scope in collection.own_scopes(data):
            found.setdefault(scope, []).append(step.key)
        parent_id = data.get(collection.parent) if collection.parent else None
        above = [collection.parent_collection] if collection.parent_collection else []
        step = next(iter(_read_changes(tenant_id, parent_id, above)), None) if parent_id else None
    return found


def _read_changes(tenant_id: UUID, row_id: str, names: Sequence[str]) -> list[Change]:
    return [
        Change(
            key=RowKey(collection, row_id),
            op=ChangeOp(op),
            version=version,
            seq=seq,
            changed_at=changed_at,
            scopes=tuple(sorted(scopes)),
            payload=payload,
        )
        for collection, op, version, seq, changed_at, scopes, payload in _read(
            _CHANGES, tenant=tenant_id, row=row_id, collections=list(names)
        )
    ]


def _is_stored(tenant_id: UUID, row_id: str, names: Sequence[str]) -> bool:
    if not is_uuid(row_id):
        return False
    return any(
        storage.read_rows(ranked_collections()[name], tenant_id, [row_id]) for name in names
    )


def _read(sql: str, *, tenant: UUID, **parameters: Any) -> Iterator[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, {"tenant": tenant, **parameters})
        yield from cursor.fetchall()
