"""The floor reads what the product reads: what both send of the same feed is the same.

Else a ratio to it would say nothing.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from backend.accounts.models import Device
from loadtests.bench import filling
from loadtests.bench.client import converse
from loadtests.bench.exchange import Answer, Request
from loadtests.bench.pulls import Held, Pages, Poll, Stream, Summing, last_place
from loadtests.bench.senders import make_readers
from loadtests.bench.workload import Sender
from sync.clock import utc_now
from tests.bench.asking import Ask, ask_product, check, database_address, running_floor
from tests.phones import Phone, World, create, delete, update

NOTHING = Held(rows=0, checksum=0)
FloorOf = Callable[[Sender], Ask]


@pytest.fixture
def floor_of(transactional_db: None, monkeypatch: Any) -> Iterator[FloorOf]:
    with running_floor(monkeypatch) as of_sender:
        yield of_sender


@pytest.fixture
def dora(transactional_db: None, wales: World) -> Phone:
    return wales.hire("dispatcher")


@pytest.fixture
def alice(wales: World) -> Phone:
    return wales.hire(territories=[wales.cardiff])


def sender_of(phone: Phone) -> Sender:
    return Sender(
        tenant=str(phone.tenant_id),
        user=str(phone.user_id),
        device=str(phone.device_id),
        token=phone.token,
        territories=["of a push"],
        sites=[],
        assets=[],
    )


def changes_of(pages: list[Answer]) -> list[list[Any]]:
    return [json.loads(page.body)["changes"] for page in pages]


def test_pages_are_the_same(floor_of: FloorOf, wales: World, dora: Phone, alice: Phone) -> None:
    """Page by page: others' rows, her own, an edit, a tombstone, and one that left her scopes."""
    asks = floor_of(sender_of(alice)), ask_product(sender_of(alice))
    created = [create("work_orders", **wales.order()) for _ in range(20)]
    gone, moved, edited, *_ = (line["id"] for line in created)
    dora.push(*created)
    alice.push(create("work_orders", **wales.order(title='"Sea & café"')))
    first = [Pages(held=NOTHING, page_rows=7)] * 2

    pages = [converse(ask, work) for ask, work in zip(asks, first, strict=True)]
    dora.push(
        delete("work_orders", gone, base=1),
        update("work_orders", moved, base=1, site=wales.other_site),
        update("work_orders", edited, base=1, title="Again"),
    )
    places = [last_place(answers) for answers in pages]
    rest = [
        converse(ask, Pages(held=NOTHING, cursor=place.cursor, page_rows=2))
        for ask, place in zip(asks, places, strict=True)
    ]
    again = [converse(ask, work) for ask, work in zip(asks, first, strict=True)]

    of_floor, of_product = (
        changes_of([*a, *b, *c]) for a, b, c in zip(pages, rest, again, strict=True)
    )
    assert of_floor == of_product
    assert [len(answers) for answers in (*pages, *rest)] == [4, 4, 2, 2]
    told = {change["op"] for page in changes_of(rest[0]) for change in page}
    assert told == {"upsert", "delete", "scope_exit"}
    assert {change["op"] for page in changes_of(again[0]) for change in page} == {"upsert"}
    own = [change["own"] for page in changes_of(pages[0]) for change in page]
    assert own.count(True) == 1


@pytest.mark.parametrize("encoding", [None, "gzip", "zstd"])
def test_streams_are_the_same(
    floor_of: FloorOf, wales: World, dora: Phone, alice: Phone, encoding: str | None
) -> None:
    """Line by line, but for what the cursor lines say; and packed the same way."""
    dora.push(*(create("work_orders", **wales.order()) for _ in range(20)))
    work = Stream(held=NOTHING, encoding=encoding)

    ((of_floor,), (of_product,)) = (
        converse(ask, work) for ask in (floor_of(sender_of(alice)), ask_product(sender_of(alice)))
    )

    lines = [
        [line if b'"op"' in line else b"cursor" for line in answer.body.splitlines()]
        for answer in (of_floor, of_product)
    ]
    assert lines[0] == lines[1]
    assert len(lines[0]) > 20
    for header in ("content-type", "content-encoding"):
        assert of_floor.headers.get(header) == of_product.headers.get(header)


def test_both_pack_to_the_same_size(floor_of: FloorOf, transactional_db: None) -> None:
    """A floor that packs less would be quicker, and no floor."""
    reader, held = fill(rows=600, territories=1)
    for encoding in ("gzip", "zstd"):
        work = Stream(held=held, encoding=encoding)

        ((of_floor,), (of_product,)) = (
            converse(ask, work) for ask in (floor_of(reader), ask_product(reader))
        )

        sizes = [len(answer.received) for answer in (of_floor, of_product)]
        assert sizes[0] < 0.3 * len(of_floor.body)
        assert abs(sizes[0] - sizes[1]) < 0.01 * sizes[0]


@pytest.mark.parametrize("territories", [1, 3, 12])
def test_filled_tenants_are_pulled_whole_from_both(
    floor_of: FloorOf, transactional_db: None, territories: int
) -> None:
    """Few scopes and many: every row once, with the checksum that the tables have of it."""
    reader, held = fill(rows=130, territories=territories)

    for ask in (floor_of(reader), ask_product(reader)):
        for work in (Pages(held=held, page_rows=9), Stream(held=held)):
            check(work, ask)


def test_both_sum_up_the_same(floor_of: FloorOf, transactional_db: None) -> None:
    """Per collection, and per bucket."""
    reader, _ = fill(rows=130, territories=3)
    with psycopg.connect(database_address()) as connection:
        work = Summing(held=filling.read_held(connection, reader))

    answers = [converse(ask, work) for ask in (floor_of(reader), ask_product(reader))]

    assert [work.find_failure(each) for each in answers] == [None, None]
    of_floor, of_product = (json.loads(each[0].body)["collections"] for each in answers)
    assert of_floor == {name: sums for name, sums in of_product.items() if sums["count"]}


def test_nothing_new_is_told_with_304_until_there_is(
    floor_of: FloorOf, wales: World, dora: Phone, alice: Phone
) -> None:
    """The tag stands for the head and the scopes; what is new is sent."""
    for ask in (floor_of(sender_of(alice)), ask_product(sender_of(alice))):
        dora.push(create("work_orders", **wales.order()))
        place = last_place(converse(ask, Pages(held=NOTHING)))
        assert place.etag
        poll = Poll(cursor=place.cursor, etag=place.etag)
        check(poll, ask)

        dora.push(create("work_orders", **wales.order()))

        (found,) = converse(ask, poll)
        assert found.status == 200
        assert len(json.loads(found.body)["changes"]) == 1
        assert found.headers["etag"] != place.etag


def test_a_revoked_device_is_told_so_by_both(
    floor_of: FloorOf, wales: World, alice: Phone
) -> None:
    """Whether somebody is still welcome is part of the work."""
    Device.objects.filter(pk=alice.device_id).update(revoked_at=utc_now())

    for ask in (floor_of(sender_of(alice)), ask_product(sender_of(alice))):
        assert ask(Request(method="GET", target="/api/v1/sync/pull")).status == 401


def fill(*, rows: int, territories: int) -> tuple[Sender, Held]:
    (reader,) = make_readers("reader", devices=1, territories=territories)
    with psycopg.connect(database_address(), autocommit=True) as connection:
        base = filling.make_room(connection, reader.tenant, rows)
        filling.fill(connection, reader, random.Random(3), base=base, rows=rows)
        return reader, filling.total(filling.read_held(connection, reader).values())
