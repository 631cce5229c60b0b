"""The demo's stage: services, data, technicians, a real server process and a bad link before it.

Everything ends with the with-block, however it is left.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import random
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import django

from backend.demo.voice import Voice
from backend.devstack.server import start_server
from backend.devstack.stack import devstack
from sync.testing.faulty_link import FaultRates, FaultyLink, faulty_link

if TYPE_CHECKING:
    from backend.fieldwork.repairs import Job

ROOT = Path(__file__).parents[2]
REAL_DATA = ROOT.parent / "shared" / "data" / "open_repair_wales_202507.csv"
SETTINGS = "backend.settings.demo"
TENANT = "wales"
GENERATED_JOBS = 20_000  # as many as the real file has
TERRITORIES_EACH = 3  # that a technician holds; neighbours share all but one

FAULTS = {
    "off": FaultRates(),
    "light": FaultRates(answer_lost=0.03, cut_before=0.03, doubled=0.03, delayed=0.1),
    "heavy": FaultRates(
        answer_lost=0.10,
        cut_before=0.05,
        request_cut=0.05,
        doubled=0.08,
        answer_truncated=0.04,
        delayed=0.15,
        delay_s_max=0.15,
    ),
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Technician:
    """A user made for the demo, and the scopes that follow from their membership."""

    username: str
    scopes: frozenset[str]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """All that devices need."""

    tenant_id: UUID
    technicians: Sequence[Technician]
    visits: Sequence[int]  # jobs of each real visit
    link: FaultyLink
    folder: Path
    server_url: str
    metrics_token: str


@contextmanager
def set_stage(*, devices: int, data: Path | None, seed: int, voice: Voice) -> Iterator[Stage]:
    """Start everything and fill the database.

    Raises:
        DevstackError: a service is missing or did not start.
        OSError: `data` cannot be read.
    """
    voice.say("Starting PostgreSQL and Valkey")
    with devstack() as stack:
        os.environ.update({**stack.environ, "DJANGO_SETTINGS_MODULE": SETTINGS})
        django.setup()
        logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line a request is too many
        tenant_id, visits = _fill(data, seed, voice)
        technicians = _hire(tenant_id, devices)
        voice.say("Starting the server and a bad link")
        token = secrets.token_urlsafe()
        environ = {**stack.environ, "DJANGO_SETTINGS_MODULE": SETTINGS, "METRICS_TOKEN": token}
        server = start_server(environ=environ, log=stack.folder / "server.log")
        try:
            rng = random.Random(seed)  # noqa: S311  # repeatable faults
            with faulty_link(server.url, rng=rng, rates=FAULTS["off"]) as link:
                yield Stage(
                    tenant_id=tenant_id,
                    technicians=technicians,
                    visits=visits,
                    link=link,
                    folder=stack.folder,
                    server_url=server.url,
                    metrics_token=token,
                )
        finally:
            server.stop()
            _disconnect()


def choose_data(given: Path | None) -> Path | None:
    """Return the file to load: the one given, the real one if it is there, or None."""
    if given is not None:
        return given
    return REAL_DATA if REAL_DATA.is_file() else None


def _fill(data: Path | None, seed: int, voice: Voice) -> tuple[UUID, list[int]]:
    from django.core.management import call_command

    from backend.accounts.models import Tenant
    from backend.fieldwork import repairs
    from backend.fieldwork.repairs_import import Import

    voice.say("Migrating and seeding")
    call_command("migrate", verbosity=0)
    call_command("seed_demo", verbosity=0, stdout=_Silence())
    jobs: list[Job] = list(
        repairs.read_jobs(data) if data else repairs.generate_jobs(GENERATED_JOBS, seed)
    )
    voice.say(f"Loading {len(jobs):,} {'real' if data else 'generated'} repair jobs")
    tenant = Tenant.objects.get(slug=TENANT)
    for progress in Import(tenant).run(enumerate(jobs, start=1)):
        voice.watch(f"Loading: {progress.jobs:,} of {len(jobs):,}")
    return tenant.pk, [len(visit) for visit in repairs.visits(jobs)]


def _hire(tenant_id: UUID, count: int) -> list[Technician]:
    """Make `count` technicians; each holds some of the busiest territories, and shares them."""
    from django.contrib.auth.hashers import make_password
    from django.db.models import Count

    from backend.accounts.models import Membership, Role, User
    from backend.demo.device import PASSWORD
    from backend.fieldwork.models import Site, WorkOrder

    busiest = (
        WorkOrder.objects.filter(tenant_id=tenant_id)
        .values("site_id")
        .annotate(orders=Count("id"))
        .order_by("-orders", "site_id")[: count + TERRITORIES_EACH]
    )
    sites = {site.pk: site.territory_id for site in Site.objects.filter(tenant_id=tenant_id)}
    territories = [sites[line["site_id"]] for line in busiest]
    password = make_password(PASSWORD)
    hired = []
    for number in range(count):
        held = [territories[(number + n) % len(territories)] for n in range(TERRITORIES_EACH)]
        user, _ = User.objects.update_or_create(
            username=f"tech{number + 1:02d}", defaults={"password": password}
        )
        Membership.objects.update_or_create(
            tenant_id=tenant_id,
            user=user,
            defaults={"role": Role.TECHNICIAN, "territories": held},
        )
        scopes = {"tenant", f"user:{user.pk}", *(f"territory:{t}" for t in held)}
        hired.append(Technician(username=user.username, scopes=frozenset(scopes)))
    return hired


def _disconnect() -> None:
    from django.db import connections

    connections.close_all()


class _Silence:
    """Swallows what commands print."""

    def write(self, text: Any) -> int:
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""
