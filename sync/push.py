"""Push: carry out a device's mutations, each exactly once.

    bytes -> parse -> one transaction [ claim -> carry out -> park -> keep the answer -> log ]
          -> respond

The key, the rows, the answer and the changes commit together, so no crash leaves one without the
others, and a retry finds either nothing done or the answer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from django.db import transaction

from sync import batch, quarantine, receipts, transactions, wire
from sync.conf import sync_settings
from sync.errors import KeyInvalid, KeyRequired
from sync.failpoints import Point, reach
from sync.push_body import PushRequest, parse_push
from sync.receipts import Answer
from sync.row_security import for_actor
from sync.signals import tell_push_answered
from sync.types import Actor, Outcome, Policy, Result

if TYPE_CHECKING:
    import datetime

OK, CONFLICT, UNPROCESSABLE = 200, 409, 422


def push(
    actor: Actor, *, key: str | None, route: str, body: bytes, now: datetime.datetime
) -> Answer:
    """Return the answer to the push in `body`, carried out now or at an earlier time.

    `key` is the Idempotency-Key as `parse_key` returns it, `route` and `body` what it stands for.

    Raises:
        BodyMalformed, LimitExceeded: the body is no push; nothing was done, the key is free.
        KeyRequired, KeyReused, RequestInFlight, Unavailable: as `carry_out`.
    """
    return carry_out(
        actor, read(body), key=key, fingerprint=wire.fingerprint(route, body), now=now
    )


def read(body: bytes) -> PushRequest:
    """Return the push that `body` is.

    Raises:
        BodyMalformed, LimitExceeded: it cannot be understood, or is too large.
    """
    limits = sync_settings()
    return parse_push(body, rows_max=limits.push_rows_max, depth_max=limits.json_depth_max)


@for_actor
def carry_out(
    actor: Actor,
    request: PushRequest,
    *,
    key: str | None,
    fingerprint: bytes,
    now: datetime.datetime,
) -> Answer:
    """Return the answer to a push that has been parsed; `fingerprint` is what its key stands for.

    Raises:
        KeyRequired: there is no key, and it is no dry run.
        KeyReused, RequestInFlight: see `receipts.claim`.
        Unavailable: the database gave up; the same request again finds the truth.
    """
    if request.validate_only:
        return transactions.run(lambda _: _rehearse(actor, request, now))
    if key is None:
        raise KeyRequired
    reach(Point.RECEIVED)
    answer = transactions.run(
        lambda with_care: _carry_out_once(
            actor, key, fingerprint, request, now, with_care=with_care
        )
    )
    reach(Point.COMMITTED)
    tell_push_answered(actor, answer)
    return answer


def parse_key(header: str | None) -> str | None:
    """Return the key of an `Idempotency-Key` header, quoted or bare; None without one.

    Raises:
        KeyInvalid: empty, too long, or with characters besides visible ASCII.

    Source: draft-ietf-httpapi-idempotency-key-header, section 2.1.
    """
    if header is None:
        return None
    text = header.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1]
    chars_max = sync_settings().key_chars_max
    if not 0 < len(text) <= chars_max or not all("!" <= char <= "~" for char in text):
        raise KeyInvalid(chars_max)
    return text


def _carry_out_once(
    actor: Actor,
    key: str,
    fingerprint: bytes,
    request: PushRequest,
    now: datetime.datetime,
    *,
    with_care: bool,
) -> Answer:
    known = receipts.claim(actor, key, fingerprint, now)
    if known is not None:
        return known
    reach(Point.CLAIMED)
    carried = batch.carry_out(actor, request.policy, request.mutations, now, with_care=with_care)
    results = quarantine.park(actor, key, request.mutations, carried.results, now)
    answer = _answer(request.policy, results, now)
    receipts.keep(actor, key, answer)
    reach(Point.ANSWERED)
    batch.log(actor, carried, now)
    reach(Point.LOGGED)
    return replace(answer, results=results)


def _rehearse(actor: Actor, request: PushRequest, now: datetime.datetime) -> Answer:
    """Return the report without its effects: the transaction is rolled back."""
    carried = batch.carry_out(actor, request.policy, request.mutations, now)
    transaction.set_rollback(True)
    return _answer(request.policy, carried.results, now)


def _answer(policy: Policy, results: list[Result], now: datetime.datetime) -> Answer:
    report = wire.report_members(results, now)
    if policy is Policy.PER_ROW or report["status"] != "rejected":
        return Answer(status=OK, body=wire.encode(report))
    has_conflict = any(result.outcome is Outcome.CONFLICT for result in results)
    status = CONFLICT if has_conflict else UNPROCESSABLE
    problem = {
        "type": "/errors/batch_rejected",
        "title": "The batch was rejected",
        "detail": "Nothing was applied; results says what became of each mutation.",
        "code": "batch_rejected",
    }
    return Answer(status=status, body=wire.encode({**problem, **report, "status": status}))
