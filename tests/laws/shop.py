"""A tenant to compare with others: the same ids in each, and all that it came to, as plain values.

The tenant is part of every key, so that two tenants may hold rows with the same ids; what is equal
in two shops went the same way in both.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import uuid
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import connection

from backend.accounts.models import Membership, Role, Tenant, User
from sync import local_edits, push, wire
from sync.receipts import Answer
from sync.registry import ranked_collections
from sync.types import Actor

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
TERRITORY, SITE = (str(uuid.UUID(int=n)) for n in (1, 2))
DORA = uuid.UUID(int=3)
DEVICES = tuple(uuid.UUID(int=100 + n) for n in range(4))
_numbers = itertools.count(1)

_HEAD = "SELECT head FROM sync_stream WHERE tenant_id = %s"
_CHANGES = """
SELECT seq, collection, row_id, op, version, payload, scopes FROM sync_change
WHERE tenant_id = %s ORDER BY seq
"""
_ENTRIES = """
SELECT scope, seq, collection, row_id, op FROM sync_entry WHERE tenant_id = %s ORDER BY 1, 2
"""
_ROWS = """
SELECT to_jsonb(t) - 'tenant_id' - 'created_at' - 'updated_at' FROM {table} t
WHERE tenant_id = %s ORDER BY id
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """One tenant with a territory and a site, and a dispatcher with several phones."""

    tenant_id: UUID

    def push(self, batch: dict[str, Any], key: str, phone: int = 0) -> Answer:
        """Push as the dispatcher, who may all but edit what is append-only."""
        actor = Actor(
            tenant_id=self.tenant_id,
            user_id=DORA,
            device_id=DEVICES[phone],
            role=Role.DISPATCHER,
            scopes=frozenset({"tenant", f"territory:{TERRITORY}"}),
        )
        return push.push(actor, key=key, route="POST", body=wire.encode(batch), now=NOW)

    def push_all(self, batches: Sequence[dict[str, Any]]) -> list[list[tuple[Any, ...]]]:
        """Push one after the other, each under its own key and from its own phone."""
        return [report(self.push(each, f"k{n}", n)) for n, each in enumerate(batches)]

    def versions(self) -> dict[tuple[str, str], int]:
        """Return the version of every row, and of the last tombstone of those that are gone."""
        return {(line[1], line[2]): line[4] for line in self._ask(_CHANGES)}

    def state(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return rows, changes, entries and the head."""
        found = {name: self._ask(sql) for name, sql in _LOOKS.items()}
        for name, collection in ranked_collections().items():
            found[name] = self._ask(_ROWS.format(table=f'"{collection.table}"'))
        return found

    def _ask(self, sql: str) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(sql, [self.tenant_id])
            return list(cursor.fetchall())


_LOOKS = {"head": _HEAD, "changes": _CHANGES, "entries": _ENTRIES}


def open_shop() -> Shop:
    """Return a new shop, equal to all others."""
    number = next(_numbers)
    tenant_id = uuid.UUID(int=2**64 + number)
    tenant = Tenant.objects.create(id=tenant_id, slug=f"shop-{number}", name="Shop")
    user, _ = User.objects.get_or_create(id=DORA, defaults={"username": "dora"})
    Membership.objects.create(tenant=tenant, user=user, role=Role.DISPATCHER, territories=[])
    local_edits.apply(
        tenant_id,
        [
            local_edits.create("territories", {"name": "Cardiff"}, TERRITORY),
            local_edits.create("sites", {"name": "Library", "territory": TERRITORY}, SITE),
        ],
    )
    return Shop(tenant_id=tenant_id)


def report(answer: Answer) -> list[tuple[Any, ...]]:
    """Return what became of each mutation, in what an app decides by; texts are for people."""
    return [
        (
            line["outcome"],
            line.get("code"),
            line.get("version"),
            line.get("fields"),
            line.get("blocked_by"),
            line.get("current"),
            [(error["path"], error["code"]) for error in line.get("errors", ())],
        )
        for line in wire.decode(answer.body.decode())["results"]
    ]
