"""Tenants that both sides pull from: filled when the first case asks for them.

    devices -> room -> each side reads up to there -> fill -> touch -> each side reads on
                       `before`: behind it are the rows that were touched            `now`

So a device that "has read two million rows" is one that was there before them: a cursor of the
real server, without two thousand pages.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Final

import psycopg

from loadtests.bench import filling
from loadtests.bench.cases import DEVICES, Filling, Sizes
from loadtests.bench.client import converse
from loadtests.bench.exchange import Answer, Link, Request
from loadtests.bench.pulls import Held, Pages, Place, last_place
from loadtests.bench.stage import Side, Stage, settle
from loadtests.bench.workload import Sender

MANY_TERRITORIES: Final = 100
TOUCHED: Final = 100  # rows that changed since `before`
NOTHING: Final = Held(rows=0, checksum=0)

Reader = Callable[[Sender, str], Place]  # pulls from a cursor to the head


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """A tenant with its devices, all of one user; places are by the name of the side."""

    devices: Sequence[Sender]
    held: Mapping[str, Held]  # by collection
    changed: Held  # since `before`
    before: Mapping[str, Place]
    now: Mapping[str, Place]


class FilledTenants:
    """Makes them, each once."""

    def __init__(self, stage: Stage, rng: random.Random, sizes: Sizes) -> None:
        self._stage = stage
        self._rng = rng
        self._sizes = sizes
        self._made: dict[Filling, Filled] = {}

    def get(self, kind: Filling) -> Filled:
        """Return the tenant of this kind.

        Raises:
            BenchFailed: a side does not let its devices read.
        """
        if kind not in self._made:
            readers = {
                side.name: make_reader(side) for side in (self._stage.floor, self._stage.product)
            }
            self._made[kind] = make_tenant(
                self._stage.stack.postgres.owner_url, kind, self._rng, self._sizes, readers
            )
            settle(self._stage.stack)
        return self._made[kind]


def make_tenant(
    database: str,
    kind: Filling,
    rng: random.Random,
    sizes: Sizes,
    readers: Mapping[str, Reader],
) -> Filled:
    """Make a tenant and fill it, while devices read it by each of the readers."""
    from loadtests.bench.senders import make_readers

    territories = MANY_TERRITORIES if kind is Filling.MANY_SCOPES else 1
    slug = f"filled-{kind.name.lower().replace('_', '-')}"
    devices = make_readers(slug, devices=DEVICES, territories=territories)
    first, rows = devices[0], sizes.rows_of(kind)
    with psycopg.connect(database, autocommit=True) as connection:
        base = filling.make_room(connection, first.tenant, rows)
        before = {name: read_on(first, "") for name, read_on in readers.items()}
        filling.fill(connection, first, rng, base=base, rows=rows)
        connection.execute("ANALYZE sync_change, sync_entry")
        step = max(1, rows // TOUCHED)
        seqs = [base + 1 + n * step for n in range(min(rows, TOUCHED))]
        filling.touch(connection, first, seqs=seqs)
        changed = filling.read_held(connection, first, after=base + rows)
        held = filling.read_held(connection, first)
    return Filled(
        devices=devices,
        held=held,
        changed=filling.total(changed.values()),
        before=before,
        now={name: read_on(first, before[name].cursor) for name, read_on in readers.items()},
    )


def make_reader(side: Side) -> Reader:
    """Return what pulls from a server."""

    def read_on(sender: Sender, cursor: str) -> Place:
        headers = side.make_headers(sender)
        with closing(Link(side.server.port)) as link:

            def exchange(request: Request) -> Answer:
                return link.exchange(request.render(headers))

            return last_place(converse(exchange, Pages(held=NOTHING, cursor=cursor)))

    return read_on
