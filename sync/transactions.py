"""Run a unit of work in one transaction, again when the database gave up for a passing reason.

Deadlocks, serialization failures and lock time-outs are the database asking for another try. A
lost connection is not tried again here: whether COMMIT happened is unknown, and only the
idempotency key can tell.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from django.db import InterfaceError, InternalError, OperationalError, connection, transaction

from sync.conf import sync_settings
from sync.errors import NeedsCare, Unavailable

T = TypeVar("T")
Work = Callable[[bool], T]  # (with care) -> result

PASSING = frozenset({"40001", "40P01", "55P03"})  # serialization, deadlock, lock not available
# A replica, as the primary becomes by a failover; a session, a transaction that idled too long for
# the operator's taste. The driver takes them for errors of the program.
AWAY = frozenset({"25006", "25P03", "25P04"})
SNAPSHOT: Final = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
BACKOFF_S = 0.02  # mean wait before the second try; doubles with each


def run(work: Work[T], rng: random.Random | None = None) -> T:
    """Return what `work` returns, committed.

    The first try is without care, which is cheaper (see `batch.carry_out`); when it meets a row
    that needs care, all is done again with it.

    Inside a transaction of the caller's, what the database gave up is lost with all of it, and not
    tried again; a row that somebody else has created meanwhile is seen by another try even there.

    Raises:
        Unavailable: the tries are used up, or the connection was lost.
    """
    jitter = rng or random.Random()  # noqa: S311  # spreads retries; guards nothing
    is_inner, tries = connection.in_atomic_block, sync_settings().transaction_tries_max
    with_care, failures = False, 0
    while True:  # ends: by an answer, an error, or when the tries are used up
        try:
            with transaction.atomic():
                return work(with_care)
        except NeedsCare:
            if not with_care:  # no failure: it was cheaper to ask the indexes by writing
                with_care = True
                continue
        except (OperationalError, InterfaceError, InternalError) as error:
            _raise_unless_passing(error, is_inner=is_inner)
        failures += 1
        if failures >= tries:
            raise Unavailable
        time.sleep(BACKOFF_S * 2**failures * jitter.random())


@contextmanager
def snapshot() -> Iterator[None]:
    """Have all that is read in this block be of one moment, whoever writes meanwhile.

    Inside a transaction of the caller's, it is whatever that transaction sees.
    """
    is_inner = connection.in_atomic_block
    with transaction.atomic():
        if not is_inner:  # it must be the transaction's first statement
            with connection.cursor() as cursor:
                cursor.execute(SNAPSHOT)
        yield


def _raise_unless_passing(error: Exception, *, is_inner: bool) -> None:
    if not is_away(error):
        raise error
    is_passing = _sqlstate(error) in PASSING
    if not is_passing:
        connection.close()
    if is_inner or not is_passing:
        raise Unavailable from error


def is_away(error: BaseException) -> bool:
    """Whether the database, not the request, is the reason for `error`: another time may do."""
    match error:
        case OperationalError() | InterfaceError():
            return True
        case InternalError():
            return _sqlstate(error) in AWAY
        case _:
            return False


def reconnect() -> None:
    """Let the next query connect anew: a kept connection may lead to a primary of yesterday."""
    if not connection.in_atomic_block:
        connection.close()


def _sqlstate(error: BaseException) -> str | None:
    return getattr(error.__cause__, "sqlstate", None)
