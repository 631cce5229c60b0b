"""Tenants that are filled by SQL: the log of them is one that pushes could have written."""

from __future__ import annotations

import json
import random
from typing import Any

import psycopg
import pytest
from django.db import connection

from loadtests.bench import filling
from loadtests.bench.cases import Filling, Sizes
from loadtests.bench.client import converse
from loadtests.bench.filled import Filled, make_tenant
from loadtests.bench.pulls import Pages, Place, Poll, last_place
from loadtests.bench.workload import Sender
from sync.wire import bucket, digest
from tests.bench.asking import ask_product, check, database_address

ROWS, TOUCHED = 250, 100


def read_on(sender: Sender, cursor: str) -> Place:
    return last_place(converse(ask_product(sender), Pages(held=filling.total([]), cursor=cursor)))


def make(kind: Filling) -> Filled:
    sizes = Sizes(rows=ROWS, large_rows=2 * ROWS, polls=1)
    readers = {"product": read_on}
    return make_tenant(database_address(), kind, random.Random(3), sizes, readers)


def select(statement: str, sender: Sender) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, [sender.tenant])
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


@pytest.mark.parametrize("kind", [Filling.PLAIN, Filling.MANY_SCOPES])
def test_what_is_filled_in_could_have_been_pushed(transactional_db: None, kind: Filling) -> None:
    """Checksums, buckets, scopes and seqs are those that the engine would have written."""
    sender = make(kind).devices[0]

    rows = select(
        "SELECT row_id, seq, version, payload, digest, scopes FROM sync_change"
        " WHERE tenant_id = %s AND collection = 'work_orders' ORDER BY seq",
        sender,
    )
    entries = select(
        "SELECT row_id, seq, digest, bucket, array_agg(scope::text ORDER BY scope) FROM sync_entry"
        " WHERE tenant_id = %s AND collection = 'work_orders' GROUP BY 1, 2, 3, 4 ORDER BY seq",
        sender,
    )

    assert len(rows) == ROWS
    assert [row[4] for row in rows] == [digest(row[0], row[2], row[3].encode()) for row in rows]
    assert entries == [(row[0], row[1], row[4], bucket(row[0]), sorted(row[5])) for row in rows]
    ((head,),) = select("SELECT head FROM sync_stream WHERE tenant_id = %s", sender)
    assert [row[1] for row in rows[-TOUCHED:]] == list(range(head - TOUCHED + 1, head + 1))
    assert [row[2] for row in rows] == [1] * (ROWS - TOUCHED) + [2] * TOUCHED
    used = {scope for row in rows for scope in row[5]}
    assert used == {*sender.scopes} - {"tenant"}


def test_rows_are_those_that_are_pushed(transactional_db: None) -> None:
    """As long and as different: else they would be quicker to send and easier to pack."""
    sender = make(Filling.PLAIN).devices[0]

    texts = [
        text
        for (text,) in select(
            "SELECT payload FROM sync_change WHERE tenant_id = %s AND collection = 'work_orders'",
            sender,
        )
    ]

    assert len({text[30:] for text in texts}) == ROWS
    assert 430 <= sum(len(text.encode()) for text in texts) / ROWS <= 445
    assert {len(json.loads(text)) for text in texts} == {12}


def test_its_devices_can_go_on_from_where_they_were(transactional_db: None) -> None:
    """From before: just the rows that changed since. From now: nothing."""
    filled = make(Filling.LARGE)

    for device in filled.devices:
        ask = ask_product(device)
        check(Pages(held=filled.changed, cursor=filled.before["product"].cursor), ask)
        now = filled.now["product"]
        assert now.etag
        check(Poll(cursor=now.cursor, etag=now.etag), ask)
    assert filled.changed.rows == TOUCHED
    assert filling.total(filled.held.values()).rows > 2 * ROWS


def test_a_tenant_without_a_feed_cannot_be_filled(transactional_db: None) -> None:
    """Its places come first; without them nobody holds a territory."""
    with (
        psycopg.connect(database_address()) as link,
        pytest.raises(ValueError, match="has no feed"),
    ):
        filling.make_room(link, "0199aaaa-0000-7000-8000-000000000000", 1)
