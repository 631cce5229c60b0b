"""The bench's stage: a durable PostgreSQL, the floor and the product on it, and who pushes.

Each side has tenants of its own in the same tables, so that what it wrote can be counted. The
services are always the bench's own: it fills the database, and a foreign one is not to be filled.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

import django

from backend.devstack.server import Server, start_server
from backend.devstack.stack import Stack, devstack
from loadtests.bench.cases import DEVICES, TENANTS
from loadtests.bench.workload import Sender, new_ids

SETTINGS: Final = "backend.settings.demo"
SITES: Final = 20  # of a tenant, with an asset at each
SERVICES: Final = ("DATABASE_URL", "REDIS_URL")
OPTIONS: Final = ("--no-access-log", "--loop", "uvloop", "--http", "httptools")
ENVIRON: Final = {
    "DJANGO_SETTINGS_MODULE": SETTINGS,
    "LOG_LEVEL": "WARNING",
    "DEBUG": "false",
    "ACCESS_TOKEN_MINUTES": "1440",  # no refresh in the middle of a measurement
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A server that is measured; `senders` are its devices, by tenant."""

    name: str
    server: Server
    senders: Sequence[Sequence[Sender]]
    make_headers: Callable[[Sender], Mapping[str, str]]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """All that a measurement needs."""

    stack: Stack
    floor: Side
    product: Side


@contextmanager
def set_stage(*, workers: int) -> Iterator[Stage]:
    """Start the services and both servers, each with `workers` processes.

    Raises:
        DevstackError: something is missing or did not start.
    """
    environ = {name: value for name, value in os.environ.items() if name not in SERVICES}
    with devstack(durable=True, environ=environ) as stack, ExitStack() as cleanup:
        set_up_django(stack)
        cleanup.callback(_disconnect)

        def start(name: str, application: str) -> Server:
            server = start_server(
                environ={**stack.environ, **ENVIRON},
                log=stack.folder / f"{name}.log",
                application=application,
                workers=workers,
                options=OPTIONS,
            )
            cleanup.callback(server.stop)
            return server

        yield Stage(
            stack=stack,
            floor=Side(
                name="floor",
                server=start("floor", "loadtests.bench.floor:application"),
                senders=make_senders("floor"),
                make_headers=floor_headers,
            ),
            product=Side(
                name="product",
                server=start("product", "backend.asgi:application"),
                senders=make_senders("product"),
                make_headers=product_headers,
            ),
        )


def set_up_django(stack: Stack) -> None:
    """Make this process one of the product's, and make the tables."""
    os.environ.update({**stack.environ, **ENVIRON})
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def make_senders(prefix: str) -> list[list[Sender]]:
    """Make the tenants of one side, with technicians who hold the one territory of theirs."""
    return [
        _make_tenant(f"{prefix}-{number}", devices=1 if number else DEVICES)
        for number in range(TENANTS)
    ]


def floor_headers(sender: Sender) -> dict[str, str]:
    """Return what the floor believes."""
    return {
        "X-Tenant": sender.tenant,
        "X-Device": sender.device,
        "X-Territory": sender.territory,
    }


def product_headers(sender: Sender) -> dict[str, str]:
    """Return what a device sends."""
    return {"Authorization": f"Bearer {sender.token}"}


def _make_tenant(slug: str, *, devices: int) -> list[Sender]:
    from backend.accounts.models import Tenant
    from sync import local_edits

    tenant = Tenant.objects.create(slug=slug, name=slug.title())
    (territory,) = new_ids(1)
    sites, assets = new_ids(SITES), new_ids(SITES)
    edits = [local_edits.create("territories", {"name": "Cardiff"}, territory)]
    for site, asset in zip(sites, assets, strict=True):
        edits += [
            local_edits.create("sites", {"name": "Works", "territory": territory}, site),
            local_edits.create("assets", {"site": site, "category": "Pump"}, asset),
        ]
    local_edits.apply(tenant.pk, edits)
    return [
        Sender(
            tenant=str(tenant.pk),
            territory=territory,
            sites=sites,
            assets=assets,
            **_hire(tenant.pk, f"{slug}-{number}", territory),
        )
        for number in range(devices)
    ]


def _hire(tenant_id: object, username: str, territory: str) -> dict[str, str]:
    """Make a technician with a device that is logged in."""
    from backend.accounts.models import Device, Membership, Role, User
    from backend.accounts.selectors import load_session
    from backend.accounts.tokens import make_pair
    from sync.clock import utc_now

    user = User.objects.create(username=username)
    Membership.objects.create(
        tenant_id=tenant_id, user=user, role=Role.TECHNICIAN, territories=[territory]
    )
    device = Device.objects.create(
        tenant_id=tenant_id,
        user=user,
        install_id="bench",
        platform="bench",
        app_version="1",
        created_at=utc_now(),
        last_seen_at=utc_now(),
    )
    session = load_session(user_id=user.pk, tenant_id=device.tenant_id, device_id=device.pk)
    return {"user": str(user.pk), "device": str(device.pk), "token": make_pair(session).access}


def _disconnect() -> None:
    from django.db import connections

    connections.close_all()
