"""The audit beside writers: a busy server gives no false alarm."""

from __future__ import annotations

import random
import re
import threading
from functools import partial
from typing import Any

import pytest
from django.db import InternalError, connection

from sync import audit, local_edits
from sync.findings import Finding
from tests.crowd import at_once
from tests.phones import World, create, delete, new_id, update
from tests.sync.history import live_through

WRITERS, PUSHES, AUDITS_MAX = 3, 15, 1_000


def test_busy_server_gives_no_false_alarm(wales: World) -> None:
    """Creates, edits, deletions and moves are committed between any two of its queries."""
    live_through(wales)
    phones = [wales.hire("dispatcher") for _ in range(WRITERS)]
    is_over = threading.Event()

    def write(position: int) -> list[Finding]:
        rng, phone = random.Random(position), phones[position]
        for _ in range(PUSHES):
            orders = [create("work_orders", new_id(), **wales.order()) for _ in range(8)]
            notes = [create("notes", work_order=o["id"], text="x") for o in orders[:4]]
            phone.push(*orders, *notes)
            phone.push(
                *(update("work_orders", o["id"], 1, priority=rng.randint(1, 5)) for o in orders),
                *(delete("work_orders", o["id"], 1) for o in orders[4:]),
            )
            territory = rng.choice([wales.cardiff, wales.newport])
            move = local_edits.update("sites", wales.site, {"territory": territory})
            local_edits.apply(wales.tenant.pk, [move])
        return []

    def write_all() -> list[Finding]:
        try:
            at_once([partial(write, n) for n in range(WRITERS)])
        finally:
            is_over.set()
        return []

    def look() -> list[Finding]:
        found: list[Finding] = []
        for _ in range(AUDITS_MAX):
            was_over = is_over.is_set()
            found += audit.check(wales.tenant.pk, audit.Tally())
            if was_over or found:
                break
        return found

    assert at_once([write_all, look]) == [[], []]


def test_audit_writes_nothing(wales: World) -> None:
    """It may be pointed at a standby, which takes no writes, and at production by mistake."""

    def attempt() -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE sync_stream SET floor = 0")

    check = audit.check(wales.tenant.pk, audit.Tally(), on_progress=attempt)

    with pytest.raises(InternalError, match="read-only"):
        list(check)


def test_restored_database_is_audited_in_reasonable_time(wales: World) -> None:
    """It has no statistics, and plans for small tables compare every row with every other."""
    live_through(wales)
    plans: dict[str, str] = {}

    def explain() -> None:
        joins = (audit._WITHOUT_ROW, audit._OF_CHANGES, audit._OTHER_ENTRIES)
        with connection.cursor() as cursor:
            for sql in joins:
                parameters: Any = {"tenant": wales.tenant.pk, "collection": "notes"}
                cursor.execute(f"EXPLAIN {sql.format(table='note')}", parameters)
                plans[sql] = "\n".join(line for (line,) in cursor.fetchall())

    list(audit.check(wales.tenant.pk, audit.Tally(), on_progress=explain))

    assert len(plans) == 3
    for plan in plans.values():
        assert re.search(r"(Hash|Merge) (Right |Left |Full )?(Anti )?Join", plan), plan
