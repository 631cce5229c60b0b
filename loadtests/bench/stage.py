"""The bench's stage: a durable PostgreSQL, with the floor and the product on it.

For pushes, each side has tenants of its own in the same tables, so that what it wrote can be
counted. The services are always started for the bench: a database of somebody's is not to be
filled.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

import django
import psycopg

from backend.devstack.server import Server, start_server
from backend.devstack.stack import Stack, devstack
from backend.throttling.rates import UNLIMITED
from loadtests.bench.cases import DEVICES, TENANTS, PushCase
from loadtests.bench.workload import Sender

SERVICES: Final = ("DATABASE_URL", "REDIS_URL")
OPTIONS: Final = ("--no-access-log", "--loop", "uvloop", "--http", "httptools")
ENVIRON: Final = {
    "DJANGO_SETTINGS_MODULE": "backend.settings.demo",
    "LOG_LEVEL": "WARNING",
    "DEBUG": "false",
    "ACCESS_TOKEN_MINUTES": "1440",  # no refresh in the middle of a measurement
    # One client is measured at the rate of a crowd; that it is counted is measured too.
    "THROTTLE_RATES": UNLIMITED,
}
TABLES: Final = (
    *("work_order", "work_order_number"),
    *("sync_stream", "sync_change", "sync_entry", "sync_request"),
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A server that is measured; `senders` are the devices that push to it, by tenant."""

    name: str
    server: Server
    senders: Sequence[Sequence[Sender]]
    make_headers: Callable[[Sender], Mapping[str, str]]

    def choose_senders(self, case: PushCase) -> list[Sender]:
        """Return the devices that push: the first of each tenant, or those of the first tenant."""
        if case.is_spread:
            return [devices[0] for devices in self.senders[: case.clients]]
        return list(self.senders[0][: case.clients])


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """All that a measurement needs; each server has `workers` processes."""

    stack: Stack
    workers: int
    floor: Side
    product: Side


@contextmanager
def set_stage(*, workers: int) -> Iterator[Stage]:
    """Start the services and both servers.

    Raises:
        DevstackError: something is missing or did not start.
    """
    with prepared_database() as stack, ExitStack() as cleanup:
        from loadtests.bench.senders import make_senders

        def start(name: str, application: str, database: str) -> Server:
            server = start_server(
                environ={**stack.environ, **ENVIRON, "DATABASE_URL": database},
                log=stack.folder / f"{name}.log",
                application=application,
                workers=workers,
                options=OPTIONS,
            )
            cleanup.callback(server.stop)
            return server

        def hire(name: str) -> list[list[Sender]]:
            devices = [DEVICES, *[1] * (TENANTS - 1)]
            return [make_senders(f"{name}-{n}", devices=count) for n, count in enumerate(devices)]

        yield Stage(
            stack=stack,
            workers=workers,
            floor=Side(
                name="floor",
                server=start(
                    "floor", "loadtests.bench.floor:application", stack.postgres.owner_url
                ),
                senders=hire("floor"),
                make_headers=floor_headers,
            ),
            product=Side(
                name="product",
                server=start("product", "backend.asgi:application", stack.postgres.url),
                senders=hire("product"),
                make_headers=product_headers,
            ),
        )


def settle(stack: Stack) -> None:
    """Bring the tables into the state in which autovacuum keeps those of a server in use.

    Right statistics, no dead rows, and a checkpoint that does not fall into a measurement.
    """
    postgres = stack.postgres
    with psycopg.connect(postgres.owner_url, autocommit=True) as connection:
        connection.execute(f"VACUUM (ANALYZE) {', '.join(TABLES)}")
    with psycopg.connect(postgres.admin_url or postgres.owner_url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")


@contextmanager
def prepared_database() -> Iterator[Stack]:
    """Start services of our own, make the tables, and make this process one of the product's."""
    environ = {name: value for name, value in os.environ.items() if name not in SERVICES}
    with devstack(durable=True, environ=environ) as stack:
        os.environ.update({**stack.environ, **ENVIRON})
        django.setup()
        from django.core.management import call_command
        from django.db import connections

        try:
            call_command("migrate", verbosity=0)
            with psycopg.connect(stack.postgres.owner_url) as connection:
                for table in TABLES:  # `settle` does it, between the runs and not in one
                    connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
            yield stack
        finally:
            connections.close_all()


def floor_headers(sender: Sender) -> dict[str, str]:
    """Return what the floor believes."""
    return {
        "X-Tenant": sender.tenant,
        "X-User": sender.user,
        "X-Device": sender.device,
        "X-Territory": sender.territory,
    }


def product_headers(sender: Sender) -> dict[str, str]:
    """Return what a device sends."""
    return {"Authorization": f"Bearer {sender.token}"}
