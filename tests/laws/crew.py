"""A tenant whose people are moved about: the same ids in each, and a text that names the tenant.

    Wales -< North, South -< Coast        a site in each; assets, work orders, notes, inspections
    tess, tom technicians    sam supervisor    dora dispatcher

Who writes is a person, whose push may be refused, or the office.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from uuid import UUID

from django.db import connection

from backend.accounts.models import Membership, Role, Tenant, User
from backend.fieldwork.access import held_scopes
from backend.fieldwork.models import Territory
from backend.fieldwork.services import TerritoryCircle, move_territory
from sync import local_edits, push, tombstones, wire
from sync.errors import EditRefused
from sync.types import Actor, Mutation, Op
from tests.phones import create, delete, update

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
WALES, NORTH, SOUTH, COAST = TERRITORIES = tuple(str(uuid.UUID(int=n)) for n in range(1, 5))
SITES = tuple(str(uuid.UUID(int=n)) for n in range(11, 15))
TESS, TOM, SAM, DORA = PEOPLE = tuple(uuid.UUID(int=n) for n in range(901, 905))
ROLES = {TESS: Role.TECHNICIAN, TOM: Role.TECHNICIAN, SAM: Role.SUPERVISOR, DORA: Role.DISPATCHER}
HELD = {TESS: [NORTH], TOM: [SOUTH, COAST], SAM: [SOUTH], DORA: []}
OFFICE = None  # as the one who writes
FIRST_MADE = 10_000  # ids of rows that a history makes
PRUNED_AT_ONCE = 3  # lines a chunk: what is left between two of them must be right as well
_numbers = itertools.count(1)

_LIVE = """
SELECT collection, row_id, version FROM sync_change
WHERE tenant_id = %s AND op = 'upsert' ORDER BY collection, row_id
"""
_STREAM = "SELECT head, floor FROM sync_stream WHERE tenant_id = %s"

Live = dict[str, list[tuple[str, int]]]  # collection -> ids and versions
Edit = tuple[str, int, int]  # what, and two numbers that choose rows and values


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """One tenant, as its people and its office see it."""

    tenant_id: UUID
    number: int
    ids: Iterator[int] = dataclasses.field(default_factory=lambda: itertools.count(FIRST_MADE))

    @property
    def mark(self) -> str:
        """The text that stands in every row."""
        return f"canary-{self.number};"

    def actor(self, person: UUID, device_id: UUID | None = None) -> Actor:
        """Return who `person` is at this moment."""
        membership = Membership.objects.get(tenant_id=self.tenant_id, user_id=person)
        paths = Territory.objects.filter(tenant_id=self.tenant_id).values_list("path", flat=True)
        return Actor(
            tenant_id=self.tenant_id,
            user_id=person,
            device_id=device_id,
            role=membership.role,
            scopes=held_scopes(membership, paths),
        )

    def write(self, who: UUID | None, edits: Sequence[Edit]) -> None:
        """Carry out those of the edits that are possible; what is refused is no matter."""
        live = self._live()
        drawn = [self._mutation(live, *edit) for edit in edits]
        mutations = [mutation for mutation in drawn if mutation is not None]
        if who is None:
            self._write_in_office(mutations)
        elif mutations:
            body = wire.encode({"policy": "per_row", "mutations": mutations})
            push.push(self.actor(who), key=str(next(self.ids)), route="POST", body=body, now=NOW)

    def reassign(self, person: UUID, role: Role, territories: Sequence[str]) -> None:
        """Give a member other territories, and perhaps another role."""
        found = Membership.objects.filter(tenant_id=self.tenant_id, user_id=person)
        found.update(role=role, territories=list(territories))

    def move_territory(self, territory_id: str, parent_id: str | None) -> None:
        """Hang a territory below another one, if it can be."""
        territory = Territory.objects.get(tenant_id=self.tenant_id, pk=territory_id)
        try:
            move_territory(territory, UUID(parent_id) if parent_id else None)
        except (TerritoryCircle, EditRefused):
            pass

    def prune(self, until: int) -> None:
        """Prune what was deleted, and what left a scope, up to the seq `until`."""
        old = tombstones.Old(tenant_id=self.tenant_id, until=until, lines=0)
        while tombstones.prune(old, PRUNED_AT_ONCE):
            pass

    def head(self) -> int:
        return self._stream()[0]

    def floor(self) -> int:
        return self._stream()[1]

    def new_id(self) -> str:
        return str(uuid.UUID(int=next(self.ids)))

    def _stream(self) -> tuple[int, int]:
        with connection.cursor() as cursor:
            cursor.execute(_STREAM, [self.tenant_id])
            head, floor = cursor.fetchone()
        return head, floor

    def _write_in_office(self, mutations: Sequence[dict[str, Any]]) -> None:
        for mutation in mutations:
            try:
                local_edits.apply(self.tenant_id, [_of_office(mutation)])
            except EditRefused:
                pass

    def _live(self) -> Live:
        live: Live = {}
        with connection.cursor() as cursor:
            cursor.execute(_LIVE, [self.tenant_id])
            for collection, row_id, version in cursor.fetchall():
                live.setdefault(collection, []).append((row_id, version))
        return live

    def _mutation(self, live: Live, what: str, one: int, other: int) -> dict[str, Any] | None:
        """Return what the edit comes to among the rows that there are; None if there are none."""
        collection, make = EDITS[what]
        rows = live.get(collection, [])
        if not rows:
            return None
        sites = [row_id for row_id, _ in live["sites"]]
        row_id, version = rows[one % len(rows)]
        return make(
            Drawn(
                collection=collection,
                row_id=row_id,
                version=version,
                new_id=self.new_id(),
                text=f"{self.mark} {other}",
                person=(str(TESS), str(TOM), None, None)[other % 4],
                site=sites[other % len(sites)],
                territory=TERRITORIES[other % len(TERRITORIES)],
            )
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """The row that an edit is about, and the values that it may give."""

    collection: str
    row_id: str
    version: int
    new_id: str
    text: str
    person: str | None
    site: str
    territory: str

    def below(self, collection: str, **data: Any) -> dict[str, Any]:
        """Return the create of a row that hangs below this one."""
        parent = {"sites": "site", "assets": "asset", "work_orders": "work_order"}
        return create(collection, self.new_id, **{parent[self.collection]: self.row_id}, **data)

    def with_(self, **data: Any) -> dict[str, Any]:
        return update(self.collection, self.row_id, self.version, **data)

    def gone(self) -> dict[str, Any]:
        return delete(self.collection, self.row_id, self.version)


# What each edit is about, and what it makes of it.
EDITS: dict[str, tuple[str, Callable[[Drawn], dict[str, Any]]]] = {
    "open": ("sites", lambda d: d.below("work_orders", kind="repair", title=d.text, assignee=d.person)),
    "install": ("sites", lambda d: d.below("assets", category=d.text)),
    "inspect": ("assets", lambda d: d.below("inspections", template_code=d.text)),
    "write": ("work_orders", lambda d: d.below("notes", text=d.text)),
    "use": ("work_orders", lambda d: d.below("parts_used", sku=d.text, quantity="1", unit="pc")),
    "title": ("work_orders", lambda d: d.with_(title=d.text)),
    "rename": ("sites", lambda d: d.with_(name=d.text)),
    "assign": ("work_orders", lambda d: d.with_(assignee=d.person)),
    "relocate": ("work_orders", lambda d: d.with_(site=d.site)),
    "rehome": ("sites", lambda d: d.with_(territory=d.territory)),
    "cancel": ("work_orders", Drawn.gone),
    "unwrite": ("notes", Drawn.gone),
}  # fmt: skip


def open_crew() -> Crew:
    """Return a new tenant with its people and some rows."""
    number = next(_numbers)
    tenant = Tenant.objects.create(
        id=uuid.UUID(int=2**65 + number), slug=f"crew-{number}", name="Crew"
    )
    crew = Crew(tenant_id=tenant.pk, number=number)
    for person in PEOPLE:
        User.objects.get_or_create(id=person, defaults={"username": f"crew-{person.int}"})
    Membership.objects.bulk_create(
        Membership(tenant=tenant, user_id=person, role=ROLES[person], territories=HELD[person])
        for person in PEOPLE
    )
    local_edits.apply(tenant.pk, [_of_office(mutation) for mutation in _first_rows(crew)])
    return crew


def _first_rows(crew: Crew) -> Iterator[dict[str, Any]]:
    parents = (None, WALES, WALES, SOUTH)
    assignees = (str(TESS), str(TOM), None, None)
    lines = zip(TERRITORIES, parents, assignees, strict=True)
    for number, (territory, parent, who) in enumerate(lines):
        site, name = SITES[number], f"{crew.mark} {number}"
        order, asset = crew.new_id(), crew.new_id()
        yield create("territories", territory, name=name, parent=parent)
        yield create("sites", site, name=name, territory=territory)
        yield create("assets", asset, site=site, category=name)
        yield create("work_orders", order, kind="repair", site=site, title=name, assignee=who)
        yield create("notes", crew.new_id(), work_order=order, text=name)


def _of_office(mutation: dict[str, Any]) -> Mutation:
    """Return a mutation of a push as one of the office."""
    match Op(mutation["op"]):
        case Op.CREATE:
            return local_edits.create(mutation["collection"], mutation["data"], mutation["id"])
        case Op.UPDATE:
            return local_edits.update(mutation["collection"], mutation["id"], mutation["data"])
        case Op.DELETE:
            return local_edits.delete(mutation["collection"], mutation["id"])
