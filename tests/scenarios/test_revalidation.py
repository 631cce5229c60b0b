"""`ETag` and `If-None-Match`: a device that has all pays one look at the head, and no more."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from backend.accounts.models import Membership
from sync.models import Stream
from tests.phones import PULL, Phone, World, create, update


def ask(phone: Phone, etag: str = "", **headers: str) -> Any:
    return phone.send("GET", f"{PULL}?cursor={phone.cursor}", **{"If-None-Match": etag}, **headers)


@pytest.fixture
def etag(alice: Phone) -> str:
    """Return what alice was given when she had all."""
    alice.pull()
    tag: str = ask(alice)["ETag"]
    return tag


def test_nothing_new_is_a_304(etag: str, alice: Phone) -> None:
    """Without a body; with the validator and how to keep it, as a 200 would."""
    full, empty = ask(alice), ask(alice, etag)

    assert (empty.status_code, empty.content) == (304, b"")
    assert full.status_code == 200
    for name in ("ETag", "Cache-Control", "Vary"):
        assert empty[name] == full[name]
    assert "private" in full["Cache-Control"]
    assert {"Authorization", "Accept", "Accept-Encoding"} <= set(full["Vary"].split(", "))


@pytest.mark.parametrize("header", ["*", '"other", {etag}', "{strong}"])
def test_validators_are_compared_weakly_and_from_lists(
    header: str, etag: str, alice: Phone
) -> None:
    """As HTTP has it. Source: RFC 9110, section 13.1.2; but `*` says nothing about what is new."""
    wanted = 200 if header == "*" else 304
    given = header.format(etag=etag, strong=etag.removeprefix("W/"))

    assert ask(alice, given).status_code == wanted


def test_304_costs_one_query(etag: str, alice: Phone) -> None:
    """Who asks, and where the head is by now: look-ups by key in one round trip."""
    with CaptureQueriesContext(connection) as queries:
        assert ask(alice, etag).status_code == 304

    assert len(queries) == 1
    assert "JOIN sync_stream" in queries[0]["sql"]


def test_change_ends_it(etag: str, alice: Phone, dora: Phone, wales: World) -> None:
    """Whoever made it."""
    dora.push(create("work_orders", **wales.order()))

    answer = ask(alice, etag)

    assert answer.status_code == 200
    assert len(answer.json()["changes"]) == 1


def test_reassignment_ends_it_though_the_feed_stands_still(
    etag: str, alice: Phone, wales: World
) -> None:
    """Nobody edited a row; what she sees is another thing all the same."""
    Membership.objects.filter(user_id=alice.user_id).update(territories=[UUID(wales.newport)])

    answer = ask(alice, etag)

    assert answer.status_code == 200
    assert answer.json()["changes"] != []


def test_new_epoch_ends_it(etag: str, alice: Phone, wales: World) -> None:
    """A restored database may have the same head."""
    Stream.objects.filter(tenant_id=wales.tenant.pk).update(
        epoch=UUID("00000000-0000-4000-8000-000000000000")
    )

    assert ask(alice, etag).status_code == 410


def test_validator_of_a_full_page_does_not_hide_the_next(
    alice: Phone, dora: Phone, wales: World
) -> None:
    """The head is the same for all pages of a sync; an app that keeps the last ETag misses none."""
    dora.push(*(create("work_orders", **wales.order()) for _ in range(5)))
    first = alice.send("GET", f"{PULL}?limit=2")
    alice.cursor = first.json()["cursor"]

    answer = ask(alice, first["ETag"])

    assert answer.status_code == 200
    assert answer.json()["changes"] != []


def test_expired_cursor_is_told_though_the_validator_fits(
    etag: str, alice: Phone, bob: Phone, wales: World
) -> None:
    """304 would say that all is well."""
    order = create("work_orders", **wales.order())
    bob.push(order, update("work_orders", order["id"], None, priority=1))
    newer = ask(bob_at_head(bob))["ETag"]
    stream = Stream.objects.get(tenant_id=wales.tenant.pk)
    Stream.objects.filter(pk=stream.pk).update(floor=stream.head)

    assert ask(alice, newer).status_code == 410


def bob_at_head(bob: Phone) -> Phone:
    bob.pull()
    return bob


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "zstd;q=0.5, gzip;q=0.4, identity"])
def test_packed_answers_have_the_same_validator(
    encoding: str, etag: str, alice: Phone, dora: Phone, wales: World
) -> None:
    """It stands for the changes: whoever validated a packed answer need not ask for a plain one."""
    dora.push(*(create("work_orders", **wales.order()) for _ in range(20)))
    plain, packed = ask(alice), ask(alice, **{"Accept-Encoding": encoding})

    assert packed["Content-Encoding"] == encoding.partition(";")[0]
    assert len(packed.content) < len(plain.content) / 2
    assert packed["ETag"] == plain["ETag"]
    assert "Content-Encoding" not in plain.headers
