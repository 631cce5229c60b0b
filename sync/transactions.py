"""Run a unit of work in one transaction, again when the database gave up for a passing reason.

Deadlocks, serialization failures and lock time-outs are the database asking for another try. A
lost connection is not tried again here: whether COMMIT happened is unknown, and only the
idempotency key can tell.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import InterfaceError, OperationalError, connection, transaction

from sync.conf import sync_settings
from sync.database_verdict import RowAppearedError
from sync.errors import Unavailable

T = TypeVar("T")

PASSING = frozenset({"40001", "40P01", "55P03"})  # serialization, deadlock, lock not available
BACKOFF_S = 0.02  # mean wait before the second try; doubles with each


def run(work: Callable[[], T], rng: random.Random | None = None) -> T:
    """Return what `work` returns, committed.

    Inside a transaction of the caller's, what the database gave up is lost with all of it, and not
    tried again; a row that somebody else has created meanwhile is seen by another try even there.

    Raises:
        Unavailable: the tries are used up, or the connection was lost.
    """
    jitter = rng or random.Random()  # noqa: S311  # spreads retries; guards nothing
    is_inner = connection.in_atomic_block
    for attempt in range(sync_settings().transaction_tries_max):
        try:
            with transaction.atomic():
                return work()
        except RowAppearedError:
            pass
        except (OperationalError, InterfaceError) as error:
            if is_inner and getattr(error.__cause__, "sqlstate", None) in PASSING:
                raise Unavailable from error
            if getattr(error.__cause__, "sqlstate", None) not in PASSING:
                connection.close()
                raise Unavailable from error
        time.sleep(BACKOFF_S * 2**attempt * 2 * jitter.random())
    raise Unavailable
