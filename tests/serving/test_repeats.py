"""Answers given again: the same as Django's, and given no longer than Django would give them."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from backend.accounts.models import Device, Membership, Role, Tenant, User
from backend.accounts.selectors import session_sql
from backend.accounts.services import SEEN_EVERY
from backend.fieldwork.models import Territory
from backend.fieldwork.services import move_territory
from backend.grounds import Grounds
from backend.serving import lookup as lookups, repeats as repeating
from backend.serving.answers import Answer
from backend.serving.lookup import Lookup
from sync.clock import utc_now
from sync.models import Stream
from tests.phones import Phone, World, create, make_world
from tests.serving.conftest import wait_until
from tests.serving.front import Front

LATER = dt.timedelta(hours=1)  # longer than any access token lives


@pytest.fixture
def wales(transactional_db: None) -> World:
    return make_world("wales")


@pytest.fixture
def alice(wales: World) -> Phone:
    return wales.hire()


def tag(answer: Answer) -> str:
    return dict(answer.headers)[b"etag"].decode()


def at_rest(front: Front, phone: Phone) -> str:
    """Have the phone pull all, and poll once; return the tag that it polls with."""
    phone.pull()
    etag = tag(front.ask(phone))
    assert front.ask(phone, etag).status == 304
    return etag


OF_ONE_REQUEST = {b"x-request-id", b"ratelimit", b"ratelimit-policy"}


def lasting(answer: Answer) -> dict[bytes, bytes]:
    """Return the headers that do not speak of one request alone."""
    return {name: value for name, value in answer.headers if name.lower() not in OF_ONE_REQUEST}


def test_repeated_answer_is_djangos(front: Front, alice: Phone) -> None:
    """Header for header, but for the request's own id, and what was left to ask then."""
    alice.pull()
    etag = tag(front.ask(alice))
    first = front.ask(alice, etag, x_request_id="the-first-one")

    again = front.repeat(alice, etag)

    assert (again.status, again.body) == (first.status, first.body) == (304, b"")
    assert lasting(again) == lasting(first)
    assert b"etag" in dict(again.headers)
    assert b"ratelimit" in {name.lower() for name, _ in first.headers}
    assert b"ratelimit" not in {name.lower() for name, _ in again.headers}
    ids = [value for name, value in again.headers if name == b"x-request-id"]
    assert len(ids) == 1
    assert ids != [b"the-first-one"]


def test_request_has_the_id_that_it_came_with(front: Front, alice: Phone) -> None:
    """The log of a phone and that of the proxy speak of the same request."""
    etag = at_rest(front, alice)
    asked = front.handler.asked

    again = front.ask(alice, etag, x_request_id="abcdefgh-1")

    assert dict(again.headers)[b"x-request-id"] == b"abcdefgh-1"
    assert front.handler.asked == asked


def push_from_elsewhere(wales: World, alice: Phone) -> None:
    wales.hire("dispatcher").push(create("work_orders", **wales.order()))


def reassign(wales: World, alice: Phone) -> None:
    Membership.objects.filter(user_id=alice.user_id).update(territories=[UUID(wales.newport)])


def promote(wales: World, alice: Phone) -> None:
    Membership.objects.filter(user_id=alice.user_id).update(role=Role.DISPATCHER)


def dismiss(wales: World, alice: Phone) -> None:
    Membership.objects.filter(user_id=alice.user_id).update(is_active=False)


def lock_user(wales: World, alice: Phone) -> None:
    User.objects.filter(pk=alice.user_id).update(is_active=False)


def close_tenant(wales: World, alice: Phone) -> None:
    Tenant.objects.filter(pk=wales.tenant.pk).update(is_active=False)


def revoke(wales: World, alice: Phone) -> None:
    Device.objects.filter(pk=alice.device_id).update(revoked_at=utc_now())


def delete_device(wales: World, alice: Phone) -> None:
    Device.objects.filter(pk=alice.device_id).delete()


def delete_membership(wales: World, alice: Phone) -> None:
    Membership.objects.filter(user_id=alice.user_id).delete()


def restore(wales: World, alice: Phone) -> None:
    Stream.objects.filter(tenant_id=wales.tenant.pk).update(epoch=UUID(int=4 << 76))


def prune(wales: World, alice: Phone) -> None:
    stream = Stream.objects.get(tenant_id=wales.tenant.pk)
    Stream.objects.filter(pk=stream.pk).update(head=stream.head + 1, floor=stream.head + 1)


@pytest.mark.parametrize(
    ("happens", "status"),
    [
        (push_from_elsewhere, 200),
        (reassign, 200),
        (promote, 200),
        (dismiss, 401),
        (lock_user, 401),
        (close_tenant, 401),
        (revoke, 401),
        (delete_device, 401),
        (delete_membership, 401),
        (restore, 410),
        (prune, 410),
    ],
)
def test_answer_is_given_no_longer_than_it_is_true(
    happens: Callable[[World, Phone], None],
    status: int,
    front: Front,
    wales: World,
    alice: Phone,
) -> None:
    """The very next request is told."""
    etag = at_rest(front, alice)
    front.repeat(alice, etag)

    happens(wales, alice)

    assert front.ask(alice, etag).status == status


def test_token_ends_when_it_ends(
    front: Front, alice: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though nothing else has changed."""
    etag = at_rest(front, alice)
    for module in ("backend.serving.repeats", "backend.accounts.authentication"):
        monkeypatch.setattr(f"{module}.utc_now", lambda: utc_now() + LATER)
    Device.objects.update(last_seen_at=utc_now() + LATER)

    assert front.ask(alice, etag).status == 401


def test_supervisor_sees_a_territory_move_under_theirs(front: Front, wales: World) -> None:
    """What they hold does not stand in their membership; the move stands in the feed."""
    sue = wales.hire(Role.SUPERVISOR)
    etag = at_rest(front, sue)
    front.repeat(sue, etag)

    move_territory(Territory.objects.get(pk=wales.newport), UUID(wales.cardiff))

    answer = front.ask(sue, etag)
    assert answer.status == 200
    assert wales.other_site.encode() in answer.body


def test_quiet_device_is_noted_all_the_same(front: Front, alice: Phone) -> None:
    """Who is out there is written by Django; the answer after that is repeated again."""
    etag = at_rest(front, alice)
    Device.objects.update(last_seen_at=utc_now() - SEEN_EVERY)

    front.ask(alice, etag)

    assert utc_now() - Device.objects.get(pk=alice.device_id).last_seen_at < SEEN_EVERY
    assert front.repeat(alice, etag).status == 304


@pytest.mark.parametrize(
    "other",
    [
        {"query": "&limit=7"},
        {"query": "&wait=0"},
        {"etag": 'W/"other"'},
        {"etag": ""},
        {"accept": "application/x-ndjson"},
        {"accept_encoding": "gzip"},
        {"cookie": "sessionid=1"},
        {"host": "elsewhere"},
        {"authorization": "Bearer nonsense"},
        {"content_length": "0"},
        {"method": "HEAD"},
    ],
)
def test_another_request_is_djangos(other: dict[str, str], front: Front, alice: Phone) -> None:
    """Whatever its answer may depend on."""
    etag = at_rest(front, alice)
    asked = front.handler.asked

    front.ask(alice, **({"etag": etag} | other))

    assert front.handler.asked == asked + 1


def test_devices_do_not_share_answers(front: Front, wales: World, alice: Phone) -> None:
    """Not even one with the same cursor and tag, as two phones of a person have them."""
    etag = at_rest(front, alice)
    other = wales.phone_of(User.objects.get(pk=alice.user_id), "tablet")
    other.cursor = alice.cursor
    assert front.ask(other, etag).status == 304

    revoke(wales, alice)

    assert front.ask(alice, etag).status == 401
    assert front.repeat(other, etag).status == 304


def test_held_answer_is_not_repeated(front: Front, alice: Phone) -> None:
    """A pull that asks to wait must wait each time."""
    etag = at_rest(front, alice)
    front.ask(alice, etag, query="&wait=1")
    asked = front.handler.asked

    front.ask(alice, etag, query="&wait=1")

    assert front.handler.asked == asked + 2  # before the wait, and after it


def test_answers_kept_are_bounded(
    front: Front, wales: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that were asked for last stay."""
    monkeypatch.setattr(repeating, "KEPT_MAX", 2)
    one, two, three = phones = [wales.hire() for _ in range(3)]
    for phone in phones:
        phone.pull()
    etags = {phone.token: tag(front.ask(phone)) for phone in phones}
    for phone in (one, two, one, three):
        front.ask(phone, etags[phone.token])

    assert front.repeat(one, etags[one.token]).status == 304
    assert front.repeat(three, etags[three.token]).status == 304
    asked = front.handler.asked
    front.ask(two, etags[two.token])
    assert front.handler.asked == asked + 1


def test_long_request_is_not_kept(
    front: Front, alice: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client cannot fill the server's memory by its headers."""
    monkeypatch.setattr(repeating, "KEY_CHARS_MAX", 100)
    etag = at_rest(front, alice)
    asked = front.handler.asked

    front.ask(alice, etag)

    assert front.handler.asked == asked + 1


def test_full_queue_does_not_keep_devices_from_the_answer(front: Front, alice: Phone) -> None:
    """It takes no thread, and so no place before one."""
    etag = at_rest(front, alice)
    front.bridge.inside_max = 0

    assert front.repeat(alice, etag).status == 304
    assert front.ask(alice).status == 503


def end_sessions() -> None:
    """End all other sessions of the database, as its restart does."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


@pytest.mark.own_session
def test_lost_connection_costs_nobody_their_answer(
    front: Front, alice: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Django answers that request; the next has a new connection."""
    monkeypatch.setattr(lookups, "AGAIN_AFTER_S", 0.0)
    etag = at_rest(front, alice)
    front.repeat(alice, etag)
    asked = front.handler.asked

    end_sessions()

    assert front.ask(alice, etag).status == 304
    assert front.handler.asked == asked + 1
    assert front.repeat(alice, etag).status == 304


@pytest.mark.own_session
def test_database_that_is_gone_is_not_knocked_at_by_every_request(
    front: Front, alice: Phone
) -> None:
    """For a while all are Django's."""
    etag = at_rest(front, alice)
    front.repeat(alice, etag)
    end_sessions()
    asked = front.handler.asked

    assert [front.ask(alice, etag).status for _ in range(3)] == [304] * 3

    assert front.handler.asked == asked + 3


def test_slow_look_up_is_not_waited_for(
    front: Front, alice: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody holds a table: the request takes its usual way, and waits there."""
    etag = at_rest(front, alice)
    front.repeat(alice, etag)
    asked = front.handler.asked
    monkeypatch.setattr(lookups, "ANSWER_S_MAX", 0.05)

    async def ask() -> Answer:
        asking = asyncio.ensure_future(front.asking(alice, etag))
        while front.handler.asked == asked and not asking.done():
            await asyncio.sleep(0.01)
        await asyncio.to_thread(other.rollback)
        return await asking

    other = connection.copy()
    other.set_autocommit(False)
    with other.cursor() as cursor:
        cursor.execute("LOCK TABLE accounts_device IN ACCESS EXCLUSIVE MODE")
    other.inc_thread_sharing()
    try:
        answer = front.runner.run(ask())
    finally:
        other.close()

    assert answer.status == 304
    assert front.handler.asked == asked + 1


@pytest.mark.own_session
def test_connection_ends_with_the_server(front: Front, alice: Phone) -> None:
    """And its answers with it."""
    etag = at_rest(front, alice)
    front.repeat(alice, etag)
    before = count_sessions()

    front.runner.run(front.bridge.repeats.close())

    wait_until(lambda: count_sessions() == before - 1)  # PostgreSQL says so a moment later


def count_sessions() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND backend_type = 'client backend'"
        )
        return int(cursor.fetchone()[0])


@pytest.mark.parametrize("pooled", [False, True], ids=["own session", "behind a pooler"])
@pytest.mark.django_db(transaction=True)
def test_questions_of_many_tenants_at_once_each_find_their_own(
    settings: Any, pooled: bool
) -> None:
    """One connection for all of them; behind a pooler nothing may stay on it."""
    settings.PREPARE_STATEMENTS = not pooled
    phones = [make_world(slug).hire() for slug in ("wales", "northwind", "kent")] * 10

    async def ask_all() -> list[Any]:
        lookup = Lookup()
        try:
            await lookup.ask(grounds_of(phones[0]))  # opens it
            return list(await asyncio.gather(*(lookup.ask(grounds_of(p)) for p in phones)))
        finally:
            await lookup.close()

    found = asyncio.run(ask_all())

    for phone, row in zip(phones, found, strict=True):
        assert row is not None
        assert phone.user_id in row
        assert phone.tenant_id in row


def grounds_of(phone: Phone) -> Grounds:
    return Grounds(
        tenant_id=phone.tenant_id,
        sql=session_sql(),
        parameters=(phone.device_id, phone.tenant_id, phone.user_id),
        still_hold=lambda _row, _now: True,
    )
