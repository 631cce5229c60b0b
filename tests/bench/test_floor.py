"""The floor does the product's durable work: what both leave in the tables is the same.

Else a ratio to it would say nothing.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import psycopg
import pytest
from django.db import connection
from rest_framework.test import APIClient

from backend.accounts.models import Tenant, User
from loadtests.bench import floor, workload
from loadtests.bench.senders import choose_places, log_in, make_places
from loadtests.bench.workload import PATH, Batch, Sender
from sync.clock import utc_now
from tests.bench.asking import answer, database_address

TABLES = (
    "work_order", "work_order_number", "task", "sync_stream", "sync_change", "sync_entry",
    "sync_request",
)  # fmt: skip
# What differs between any two runs of the same work: whose it is, and when.
APART = {"tenant_id", "epoch", "holder_id", "device_id", "answer"}
TIMES = {"timestamp with time zone"}


@dataclasses.dataclass(frozen=True)
class Sides:
    """The same user in two tenants with the same places: their pushes are the same bytes."""

    floor: Sender
    product: Sender

    def push_floor(self, *batches: Batch) -> list[bytes]:
        async def push(link: floor.Connection) -> list[bytes]:
            return [
                await floor.carry_out(link, request_of(self.floor, batch), utc_now())
                for batch in batches
            ]

        return on_the_floor(push)

    def push_product(self, *batches: Batch) -> list[bytes]:
        answers = [push(self.product, batch) for batch in batches]
        assert [answer.status_code for answer in answers] == [200] * len(batches)
        return [answer.content for answer in answers]


@pytest.fixture
def sides(transactional_db: None) -> Sides:
    user, places = User.objects.create(username="tess"), choose_places()
    made = []
    for slug in ("floor", "product"):
        tenant = Tenant.objects.create(slug=slug, name=slug)
        make_places(tenant, places)
        made.append(log_in(user, tenant, places))
    return Sides(*made)


def on_the_floor(
    work: Callable[[floor.Connection], Coroutine[Any, Any, list[bytes]]],
) -> list[bytes]:
    address = database_address()

    async def run() -> list[bytes]:
        async with await psycopg.AsyncConnection.connect(address, autocommit=True) as link:
            return await work(link)

    return asyncio.run(run())


def request_of(sender: Sender, batch: Batch) -> floor.Request:
    return floor.Request(
        tenant=sender.tenant, device=sender.device, territory=sender.territory,
        key=batch.key, body=batch.body,
    )  # fmt: skip


def push(sender: Sender, batch: Batch) -> Any:
    client: Any = APIClient()
    headers = {"Authorization": f"Bearer {sender.token}", "Idempotency-Key": batch.key}
    return client.generic("POST", PATH, batch.body, "application/json", headers=headers)


def contents(sender: Sender) -> dict[str, list[str]]:
    """Return all that the tables hold of a tenant, but for `APART` and times of writing."""
    found = {}
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(
                "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s",
                [table],
            )
            is_domain = not table.startswith("sync_")
            names = [
                name
                for name, kind in cursor.fetchall()
                if name not in APART
                and not (kind in TIMES and (not is_domain or name in {"created_at", "updated_at"}))
                and (is_domain or name != "id")
            ]
            cursor.execute(
                f"SELECT {', '.join(names)} FROM {table} WHERE tenant_id = %s", [sender.tenant]
            )
            found[table] = sorted(
                repr(dict(zip(names, row, strict=True))) for row in cursor.fetchall()
            )
    return found


def without_time(answers: Sequence[bytes]) -> list[Any]:
    return [{**json.loads(answer), "server_time": ""} for answer in answers]


def test_floor_and_product_leave_equal_tables(sides: Sides) -> None:
    """Rows, versions, numbers, seqs, payloads, digests, scopes and answers, after every push."""
    rng = random.Random(3)
    ids = workload.new_ids(60)
    batches = workload.creates(sides.floor, rng, ids=ids, batch_rows=20)
    batches += workload.updates(rng, ids=ids[10:30], batch_rows=8)

    answers = sides.push_floor(*batches), sides.push_product(*batches)

    tables = contents(sides.floor), contents(sides.product)
    assert tables[0] == tables[1]
    assert {name: len(rows) for name, rows in tables[0].items()} == {
        "work_order": 60, "work_order_number": 1, "task": 0, "sync_stream": 1,
        "sync_change": 60 + 41, "sync_entry": 60 + 15 + 41, "sync_request": len(batches),
    }  # fmt: skip
    assert without_time(answers[0]) == without_time(answers[1])


def test_both_keep_the_answer_and_whose_change_it_was(sides: Sides) -> None:
    """The two columns that the comparison of the tables leaves out."""
    batches = workload.creates(
        sides.floor, random.Random(3), ids=workload.new_ids(4), batch_rows=2
    )

    answers = sides.push_floor(*batches), sides.push_product(*batches)

    for sender, given in zip((sides.floor, sides.product), answers, strict=True):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT holder_id::text, answer FROM sync_request WHERE tenant_id = %s ORDER BY id",
                [sender.tenant],
            )
            assert [(holder, bytes(kept)) for holder, kept in cursor.fetchall()] == [
                (sender.device, answer) for answer in given
            ]
            cursor.execute(
                "SELECT DISTINCT device_id::text FROM sync_change"
                " WHERE tenant_id = %s AND collection = 'work_orders'",
                [sender.tenant],
            )
            assert cursor.fetchall() == [(sender.device,)]


def test_an_edit_of_an_older_version_changes_nothing_on_either(sides: Sides) -> None:
    """The floor locks and compares versions too: a floor without that would be a cheaper one."""
    rng = random.Random(3)
    ids = workload.new_ids(3)
    made = workload.creates(sides.floor, rng, ids=ids, batch_rows=3)
    edit, late = workload.updates(rng, ids=[ids[0], ids[1], ids[1], ids[2]], batch_rows=2)

    answers = sides.push_floor(*made, edit, late), sides.push_product(*made, edit, late)

    outcomes = [
        [(line["outcome"], line.get("code")) for line in json.loads(of_side[-1])["results"]]
        for of_side in answers
    ]
    assert outcomes == [[("conflict", "version_mismatch"), ("updated", None)]] * 2
    assert contents(sides.floor) == contents(sides.product)


def test_floor_answers_a_key_once(sides: Sides) -> None:
    """Idempotency is part of the work: the second time it is the kept answer that is given."""
    batches = workload.creates(
        sides.floor, random.Random(3), ids=workload.new_ids(3), batch_rows=3
    )
    first = sides.push_floor(*batches)
    before = contents(sides.floor)

    again = sides.push_floor(*batches)

    assert again == first
    assert contents(sides.floor)["sync_change"] == before["sync_change"]


def test_rows_are_of_the_size_that_peers_were_measured_with(sides: Sides) -> None:
    """About 437 bytes of JSON with 12 fields: throughput in rows means little without it."""
    (batch,) = workload.creates(
        sides.floor, random.Random(3), ids=workload.new_ids(200), batch_rows=200
    )

    (given,) = sides.push_floor(batch)

    assert batch.find_failure([answer(200, given)]) is None
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT avg(octet_length(payload)), min((SELECT count(*) FROM json_object_keys(payload::json)))"
            " FROM sync_change WHERE tenant_id = %s AND collection = 'work_orders'",
            [sides.floor.tenant],
        )
        size, fields = cursor.fetchone()
    assert fields == 12
    assert 430 <= size <= 445
