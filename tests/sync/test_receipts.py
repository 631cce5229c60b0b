"""Whose key it is: one holder's answer is never another's, and a claim leaves no trace behind."""

from __future__ import annotations

import uuid

from django.db import connection, transaction

from sync import receipts
from sync.clock import utc_now
from sync.receipts import Answer
from sync.types import Actor
from tests.phones import World

PRINT = b"x" * 32


def lock_timeout() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        found: str = cursor.fetchone()[0]
        return found


def test_same_key_of_several_holders_keeps_each_its_own_answer(
    wales: World, northwind: World
) -> None:
    """Two phones, and a person without one who works for two tenants, all count from `1`."""
    person = uuid.uuid4()
    holders = [
        Actor(tenant_id=wales.tenant.pk, user_id=person, device_id=uuid.uuid4()),
        Actor(tenant_id=wales.tenant.pk, user_id=person, device_id=uuid.uuid4()),
        Actor(tenant_id=wales.tenant.pk, user_id=person),
        Actor(tenant_id=northwind.tenant.pk, user_id=person),
    ]
    answers = [Answer(status=200, body=b"%d" % number) for number in range(len(holders))]

    for holder, answer in zip(holders, answers, strict=True):
        assert receipts.claim(holder, "1", PRINT, utc_now()) is None
        receipts.keep(holder, "1", answer)

    again = [receipts.claim(holder, "1", PRINT, utc_now()) for holder in holders]
    found = [receipts.find(holder, "1") for holder in holders]
    bodies = [answer.body for answer in answers]
    assert [answer.body for answer in again if answer is not None] == bodies
    assert [answer.body for answer in found] == bodies


def test_patience_of_a_push_ends_with_its_transaction(
    transactional_db: None, wales: World
) -> None:
    """The connection is kept: a report that runs on it later may wait as long as it likes."""
    before = lock_timeout()

    with transaction.atomic():
        actor = Actor(tenant_id=wales.tenant.pk, device_id=uuid.uuid4())
        receipts.claim(actor, "1", PRINT, utc_now())
        assert lock_timeout() != before

    assert lock_timeout() == before
