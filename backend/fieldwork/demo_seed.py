"""The demo's data, the same in docs, tests and load tests: two tenants, their people, their work.

    wales      Wales -< Cardiff, Newport, Swansea      dora sam tess tom ada otto
    northwind  Harbour                                 nina nick

Each working territory has three sites with two assets each; each technician starts with five work
orders. All ids follow from names, so that every database has the same. What exists is left alone,
edited or not.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import uuid
from collections.abc import Iterator
from typing import Final

from django.contrib.auth.hashers import make_password
from django.db import transaction

from backend.accounts.models import Membership, Role, Tenant, User
from backend.fieldwork.services import create_missing
from sync import local_edits
from sync.types import Mutation, Wire

NAMESPACE: Final = uuid.UUID("7d2f0c4e-8a53-5b1e-9f6d-3c1a5e7b9d20")
PASSWORD: Final = "fieldsync"  # noqa: S105  # known to everybody: demo and test settings only
ROOT: Final = "Wales"
FIRST_DUE_AT: Final = dt.datetime(2026, 12, 1, 16, tzinfo=dt.UTC)

TERRITORIES: Final[dict[str, dict[str, str | None]]] = {  # tenant -> territory -> its parent
    "wales": {ROOT: None, "Cardiff": ROOT, "Newport": ROOT, "Swansea": ROOT},
    "northwind": {"Harbour": None},
}
PEOPLE: Final[
    dict[str, dict[str, tuple[Role, tuple[str, ...]]]]
] = {  # tenant -> user -> role, territories
    "wales": {
        "dora": (Role.DISPATCHER, ()),
        "sam": (Role.SUPERVISOR, (ROOT,)),
        "tess": (Role.TECHNICIAN, ("Cardiff", "Newport")),
        "tom": (Role.TECHNICIAN, ("Swansea", "Newport")),
        "ada": (Role.ADMIN, ()),
        "otto": (Role.AUDITOR, ()),
    },
    "northwind": {
        "nina": (Role.DISPATCHER, ()),
        "nick": (Role.TECHNICIAN, ("Harbour",)),
    },
}
SUPERUSER: Final = "ada"  # the one who may log in to the admin

SITES: Final = (  # name, customer, street, degrees away from the territory's centre
    ("Library", "City Council", "1 Castle Street", 0.004),
    ("Leisure Centre", "Active Leisure", "22 Station Road", -0.006),
    ("Health Centre", "Health Board", "7 Church Lane", 0.009),
)
CENTRES: Final = {
    "Cardiff": (51.4816, -3.1791),
    "Newport": (51.5842, -2.9977),
    "Swansea": (51.6214, -3.9436),
    "Harbour": (53.4084, -2.9916),
}
ASSETS: Final = (("Boiler", "Vaillant"), ("Pump", "Grundfos"))
JOBS: Final = (  # kind, priority, title, tasks
    ("repair", 1, "No hot water", ("Isolate the supply", "Find the fault", "Test for leaks")),
    ("repair", 3, "Replace the pump seal", ("Isolate the supply", "Fit the new seal")),
    ("inspection", 3, "Yearly inspection", ("Check the pressure", "Take photos")),
    ("repair", 2, "Pump is noisy", ("Listen to the bearings", "Grease or replace them")),
    ("install", 4, "Fit a heat meter", ("Choose the place", "Fit it", "Read it once")),
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Seeded:
    """What is there now for one tenant, and how much of it this run made."""

    tenant: Tenant
    users: dict[str, str]  # name -> role
    rows: dict[str, int]  # collection -> number of rows that the seed consists of
    created: int


def seed() -> list[Seeded]:
    """Make what is missing of the demo's data, and say what there is."""
    with transaction.atomic():
        password = make_password(PASSWORD)  # one hash for all: hashing is slow by design
        return [_seed_tenant(slug, password) for slug in PEOPLE]


def seed_id(slug: str, *names: object) -> uuid.UUID:
    """Return the id of something in the seed: `seed_id("wales", "sites", "Cardiff", 0)`."""
    return uuid.uuid5(NAMESPACE, "/".join([slug, *map(str, names)]))


def _seed_tenant(slug: str, password: str) -> Seeded:
    tenant, _ = Tenant.objects.get_or_create(
        slug=slug, defaults={"id": seed_id(slug), "name": slug.title()}
    )
    for name in PEOPLE[slug]:
        _seed_user(slug, tenant, name, password)
    rows = list(seed_rows(slug))
    filled = create_missing(tenant.id, rows)
    if filled.refused:
        message = f"the demo's own rows were refused: {filled.refused[0].refusal}"
        raise AssertionError(message)
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.collection] = counts.get(row.collection, 0) + 1
    users = {name: str(role) for name, (role, _) in PEOPLE[slug].items()}
    return Seeded(tenant=tenant, users=users, rows=counts, created=filled.created)


def _seed_user(slug: str, tenant: Tenant, name: str, password: str) -> None:
    is_superuser = name == SUPERUSER
    user, _ = User.objects.get_or_create(
        username=name,
        defaults={
            "id": seed_id(slug, "users", name),
            "first_name": name.title(),
            "password": password,
            "is_staff": is_superuser,
            "is_superuser": is_superuser,
        },
    )
    role, territories = PEOPLE[slug][name]
    Membership.objects.get_or_create(
        tenant=tenant,
        user=user,
        defaults={
            "role": role,
            "territories": [seed_id(slug, "territories", name) for name in territories],
        },
    )


def seed_rows(slug: str) -> Iterator[Mutation]:
    """Yield the creates of one tenant's rows, parents first."""
    for name, parent in TERRITORIES[slug].items():
        parent_id = str(seed_id(slug, "territories", parent)) if parent else None
        yield _create(slug, "territories", (name,), {"name": name, "parent": parent_id})
    for territory in TERRITORIES[slug]:
        if territory in CENTRES:
            yield from _places(slug, territory)
    for name, (role, territories) in PEOPLE[slug].items():
        if role == Role.TECHNICIAN:
            yield from _work(slug, name, territories)


def _places(slug: str, territory: str) -> Iterator[Mutation]:
    latitude, longitude = CENTRES[territory]
    for place, (name, customer, street, offset) in enumerate(SITES):
        yield _create(
            slug,
            "sites",
            (territory, place),
            {
                "name": f"{territory} {name}",
                "customer": customer,
                "address": f"{street}, {territory}",
                "latitude": round(latitude + offset, 6),
                "longitude": round(longitude + offset, 6),
                "access_notes": "Ask at the reception.",
                "territory": str(seed_id(slug, "territories", territory)),
            },
        )
        for number, (category, brand) in enumerate(ASSETS):
            yield _create(
                slug,
                "assets",
                (territory, place, number),
                {
                    "site": str(seed_id(slug, "sites", territory, place)),
                    "tag": f"{territory[:3].upper()}-{place + 1}{number + 1}",
                    "category": category,
                    "brand": brand,
                    "installed_on": f"{2015 + 2 * place + number}-05-01",
                },
            )


def _work(slug: str, user: str, territories: tuple[str, ...]) -> Iterator[Mutation]:
    """Yield a technician's five work orders, in their territories by turns."""
    for position, (kind, priority, title, tasks) in enumerate(JOBS):
        territory = territories[position % len(territories)]
        place = position % len(SITES)
        number = position % len(ASSETS)
        due_at = FIRST_DUE_AT + dt.timedelta(days=position)
        yield _create(
            slug,
            "work_orders",
            (user, position),
            {
                "kind": kind,
                "status": "assigned",
                "priority": priority,
                "site": str(seed_id(slug, "sites", territory, place)),
                "asset": str(seed_id(slug, "assets", territory, place, number)),
                "assignee": str(seed_id(slug, "users", user)),
                "title": title,
                "description": f"Reported by the staff of {territory} {SITES[place][0]}.",
                "due_at": due_at.isoformat(),
                "tasks": [
                    {
                        "id": str(seed_id(slug, "tasks", user, position, place_in_list)),
                        "position": place_in_list,
                        "text": text,
                    }
                    for place_in_list, text in enumerate(tasks, start=1)
                ],
            },
        )


def _create(slug: str, collection: str, names: tuple[object, ...], data: Wire) -> Mutation:
    return local_edits.create(collection, data, str(seed_id(slug, collection, *names)))
