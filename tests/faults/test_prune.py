"""Pruning beside pushes and beside itself: every key that is young enough survives."""

from __future__ import annotations

import datetime as dt
import uuid
from functools import partial
from typing import Any

from django.db import connection, transaction

from backend.fieldwork.models import WorkOrder
from sync import retention
from sync.clock import utc_now
from sync.models import Receipt
from tests.crowd import at_once
from tests.phones import Phone, World, create
from tests.sync.agreement import findings_of

OLD, PUSHES = 600, 12


def age_receipts(phone: Phone, count: int) -> None:
    """Make `count` receipts of a hundred days ago."""
    then = utc_now() - dt.timedelta(days=100)
    Receipt.objects.bulk_create(
        Receipt(
            tenant_id=phone.tenant_id, holder_id=phone.device_id, key=f"old-{n}", status=200,
            fingerprint=b"", answer=b"{}", created_at=then,
        )
        for n in range(count)
    )  # fmt: skip


def prune(chunk_rows: int) -> int:
    """Prune as the command does; return how many receipts this run deleted."""
    before = retention.cutoff("receipts", utc_now())
    return max(retention.prune(retention.find("receipts", before), chunk_rows), default=0)


def test_two_prunes_at_once_beside_pushes(wales: World) -> None:
    """They share the work, hold up nobody, and no answer is lost that a phone may ask for."""
    phones = [wales.hire() for _ in range(2)]
    age_receipts(phones[0], OLD)
    sent: list[tuple[Phone, Any, str, bytes]] = []

    def push(phone: Phone) -> int:
        for _ in range(PUSHES):
            body = {"mutations": [create("work_orders", **wales.order())]}
            key = str(uuid.uuid4())
            answer = phone.push_raw(body, key)
            assert answer.status_code == 200, answer.content
            sent.append((phone, body, key, answer.content))
        return 0

    deleted = at_once([partial(prune, 7), partial(prune, 5), *(partial(push, p) for p in phones)])

    prune(100)  # what was locked when both looked last
    assert sum(deleted) <= OLD
    assert Receipt.objects.count() == len(sent) == 2 * PUSHES
    for phone, body, key, content in sent:
        again = phone.push_raw(body, key)
        assert (again["Idempotency-Replayed"], again.content) == ("true", content)
    assert WorkOrder.objects.count() == len(sent)
    assert findings_of(wales) == []


def test_prune_does_not_wait_for_a_locked_receipt(wales: World) -> None:
    """What somebody holds is left for the next time."""
    phone = wales.hire()
    age_receipts(phone, 3)

    with transaction.atomic():
        Receipt.objects.select_for_update().get(key="old-1")
        (deleted,) = at_once([partial(prune, 10)])

    assert deleted == 2
    assert [receipt.key for receipt in Receipt.objects.all()] == ["old-1"]


def test_push_under_way_keeps_its_key(wales: World) -> None:
    """The key of a push that is being carried out is seen by nobody else until it commits."""
    phone = wales.hire()

    with transaction.atomic():
        answer = phone.push_raw({"mutations": [create("work_orders", **wales.order())]}, "k")
        Receipt.objects.update(created_at=utc_now() - dt.timedelta(days=100))
        assert at_once([partial(prune, 10)]) == [0]

    assert phone.send("GET", "/api/v1/sync/receipts/k").content == answer.content


def test_receipt_pruned_while_its_key_is_looked_up(wales: World) -> None:
    """Between `the key is taken` and `this was its answer`: the push is carried out, harmlessly."""
    phone = wales.hire()
    body = {"mutations": [create("work_orders", **wales.order())]}
    phone.push_raw(body, "k")
    Receipt.objects.update(created_at=utc_now() - dt.timedelta(days=100))
    pruned: list[int] = []

    def prune_after_claim(execute: Any, sql: str, *rest: Any) -> Any:
        result = execute(sql, *rest)
        if "INSERT INTO sync_request" in sql and not pruned:
            pruned.extend(at_once([partial(prune, 10)]))
        return result

    with connection.execute_wrapper(prune_after_claim):
        again = phone.push_raw(body, "k")

    assert pruned == [1]
    assert again.status_code == 200
    assert [line["outcome"] for line in again.json()["results"]] == ["unchanged"]
    assert Receipt.objects.count() == 1
