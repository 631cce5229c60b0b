"""Retention: what the engine keeps for a time only, and how it is deleted beside traffic.

    PRUNABLES   name -> days it is kept, how to count what is older, how to delete some of it

Each chunk is a transaction of its own, short and safe to repeat: a prune that is killed has done
part of its work, and two at once share it. What is to be pruned besides is one more line.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Iterator
from typing import Final

from sync import receipts, transactions
from sync.conf import sync_settings

CHUNK_ROWS: Final = 1_000  # rows a transaction: locks and write-ahead log of some milliseconds
DAYS_MIN: Final = 1  # a phone that is told nothing repeats its push for hours


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Prunable:
    """Something that is kept for a number of days.

    `count` takes the time before which things are too old. `prune` deletes up to a number of
    them, skipping what somebody else is about to delete, and returns how many; it is called in
    a transaction of its own until it finds none.
    """

    days: Callable[[], int]
    count: Callable[[datetime.datetime], int]
    prune: Callable[[datetime.datetime, int], int]


PRUNABLES: Final[dict[str, Prunable]] = {
    "receipts": Prunable(
        days=lambda: sync_settings().receipt_days,
        count=receipts.count_older,
        prune=receipts.prune,
    ),
}


def cutoff(name: str, now: datetime.datetime, days: int | None = None) -> datetime.datetime:
    """Return the time before which prunables of that name are too old.

    `days` overrules the setting.

    Raises:
        ValueError: less than a day, which would take from phones what they are about to ask for.
    """
    kept_days = PRUNABLES[name].days() if days is None else days
    if kept_days < DAYS_MIN:
        message = f"{name} are kept for {DAYS_MIN} day at least, not for {kept_days}"
        raise ValueError(message)
    return now - datetime.timedelta(days=kept_days)


def count(name: str, before: datetime.datetime) -> int:
    """Return how many prunables of that name are older than `before`."""
    return PRUNABLES[name].count(before)


def prune(name: str, before: datetime.datetime, chunk_rows: int = CHUNK_ROWS) -> Iterator[int]:
    """Delete what is older than `before`; yield after each committed chunk how many are gone.

    Raises:
        Unavailable: the database gave up; what was yielded is gone all the same.
    """
    prunable, gone = PRUNABLES[name], 0
    while deleted := transactions.run(lambda _: prunable.prune(before, chunk_rows)):
        gone += deleted
        yield gone
