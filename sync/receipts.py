"""Receipts: each idempotency key is carried out once, and its answer kept. Owns sync_request.

    claim --> None            the key is ours: carry the push out, then `keep` the answer
          `-> Answer          somebody finished it before: give the same answer again

The claim is an INSERT on a unique column in the same transaction as the effects. A twin waits for
the first on that index; when the first rolls back, the twin has the key.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING, Any

from django.db import OperationalError, connection
from psycopg import errors as pg_errors

from sync.conf import sync_settings
from sync.errors import KeyReused, ReceiptMissing, RequestInFlight
from sync.models import Receipt

if TYPE_CHECKING:
    import datetime
    from collections.abc import Sequence
    from uuid import UUID

    from sync.types import Actor, Result

_CLAIM_TRIES_MAX = 3  # a key that is pruned under our hands is free; that it comes back is odd

_CLAIM = """
INSERT INTO sync_request (tenant_id, holder_id, key, fingerprint, created_at)
SELECT %s, %s, %s, %s, %s FROM set_config('lock_timeout', %s, true)
ON CONFLICT (tenant_id, holder_id, key) DO NOTHING
"""  # the time-out holds for every lock of the transaction, and is set before the first wait
# Locked rows are another prune's; what is locked here stays where it is, so its place names it,
# and no plan reads or deletes beyond it.
_PRUNE = """
DELETE FROM sync_request WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM sync_request WHERE created_at < %s
    ORDER BY created_at LIMIT %s FOR UPDATE SKIP LOCKED))
"""

_KEEP = """
UPDATE sync_request SET status = %s, answer = %s
WHERE tenant_id = %s AND holder_id = %s AND key = %s
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a push was answered: an HTTP status and a body, byte for byte.

    `results` are the body's, for whoever counts them; of an answer given again there are none.
    """

    status: int
    body: bytes
    is_replay: bool = False
    results: Sequence[Result] = dataclasses.field(default=(), compare=False)

    def count_outcomes(self) -> Counter[tuple[str, str]]:
        """Return of how many rows came what, by (collection, outcome)."""
        return Counter((each.mutation.collection, each.outcome.value) for each in self.results)


def claim(actor: Actor, key: str, fingerprint: bytes, now: datetime.datetime) -> Answer | None:
    """Take `key` for this transaction, or return the answer that it already led to.

    Raises:
        RequestInFlight: a twin holds the key and did not finish in time.
        KeyReused: the key led to an answer for other bytes.
    """
    for _ in range(_CLAIM_TRIES_MAX):
        if _take(actor, key, fingerprint, now):
            return None
        known = Receipt.objects.filter(**_named(actor, key)).first()
        if known is not None:
            if bytes(known.fingerprint) != fingerprint:
                raise KeyReused
            return _answer(known)
        # It was pruned between the two statements: now the key is free.
    raise RequestInFlight


def keep(actor: Actor, key: str, answer: Answer) -> None:
    """Store the answer of a claimed key; it commits together with the effects."""
    with connection.cursor() as cursor:
        cursor.execute(_KEEP, [answer.status, answer.body, actor.tenant_id, _holder(actor), key])


def find(actor: Actor, key: str) -> Answer:
    """Return the answer kept for `key`.

    Raises:
        ReceiptMissing: the key is not known for this device.
    """
    known = Receipt.objects.filter(**_named(actor, key), status__isnull=False).first()
    if known is None:
        raise ReceiptMissing
    return _answer(known)


def count_older(before: datetime.datetime) -> int:
    """Return how many receipts were made before `before`."""
    return Receipt.objects.filter(created_at__lt=before).count()


def prune(before: datetime.datetime, rows_max: int) -> int:
    """Delete up to `rows_max` receipts that were made before `before`; return how many.

    A key that a push is just being carried out for is seen by nobody else, and is not touched.
    """
    with connection.cursor() as cursor:
        cursor.execute(_PRUNE, [before, rows_max])
        return int(cursor.rowcount)


def _take(actor: Actor, key: str, fingerprint: bytes, now: datetime.datetime) -> bool:
    """Insert the key; return False if it is there already, and whose transaction is over."""
    wait = f"{sync_settings().lock_wait_ms}ms"
    try:
        with connection.cursor() as cursor:
            holder = _holder(actor)
            cursor.execute(_CLAIM, [actor.tenant_id, holder, key, fingerprint, now, wait])
            return bool(cursor.rowcount == 1)
    except OperationalError as error:
        if isinstance(error.__cause__, pg_errors.LockNotAvailable):
            raise RequestInFlight from None
        raise


def _named(actor: Actor, key: str) -> dict[str, Any]:
    return {"tenant_id": actor.tenant_id, "holder_id": _holder(actor), "key": key}


def _holder(actor: Actor) -> UUID:
    """A key belongs to a device, or to a user without one; never to a token."""
    holder = actor.device_id or actor.user_id
    if holder is None:
        message = "a push needs an actor with a device or a user"
        raise ValueError(message)
    return holder


def _answer(known: Receipt) -> Answer:
    if known.status is None or known.answer is None:
        raise RequestInFlight  # cannot be seen: status is null only inside its transaction
    return Answer(status=known.status, body=bytes(known.answer), is_replay=True)
