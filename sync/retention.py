"""Retention: what the engine keeps for a time only, and how it is deleted beside traffic.

    PRUNABLES   name -> days it is kept, how to find what is older, in portions
    register    adds one of the project's own
    Portion     how many rows, how to delete some of them; tombstones have one for each tenant

Each chunk is a transaction of its own, short and safe to repeat: a prune that is killed has done
part of its work, and two at once share it.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final

from sync import quarantine, receipts, tombstones, transactions
from sync.conf import sync_settings

CHUNK_ROWS: Final = 1_000  # rows a transaction: locks and write-ahead log of some milliseconds
DAYS_MIN: Final = 1  # a phone that is told nothing repeats its push for hours


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """Things that are too old, and are deleted one chunk after the other.

    `prune` deletes up to a number of them, or a few more, and returns how many; it is called in a
    transaction of its own until it finds none.
    """

    rows: int
    prune: Callable[[int], int]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Prunable:
    """Something that is kept for a number of days; `find` takes the time of what is too old."""

    days: Callable[[], int]
    find: Callable[[datetime.datetime], list[Portion]]


def _find_receipts(before: datetime.datetime) -> list[Portion]:
    return [
        Portion(rows=receipts.count_older(before), prune=partial(receipts.prune, before)),
    ]


def _find_tombstones(before: datetime.datetime) -> list[Portion]:
    return [
        Portion(rows=old.lines, prune=partial(tombstones.prune, old))
        for old in tombstones.list_old(before)
    ]


def _find_settled(before: datetime.datetime) -> list[Portion]:
    return [
        Portion(rows=quarantine.count_settled(before), prune=partial(quarantine.prune, before)),
    ]


PRUNABLES: Final[dict[str, Prunable]] = {
    "receipts": Prunable(days=lambda: sync_settings().receipt_days, find=_find_receipts),
    "tombstones": Prunable(days=lambda: sync_settings().tombstone_days, find=_find_tombstones),
    "quarantine": Prunable(days=lambda: sync_settings().quarantine_days, find=_find_settled),
}


def register(name: str, prunable: Prunable) -> None:
    """Have `manage.py sync_prune` delete something of the project's as well."""
    PRUNABLES[name] = prunable


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


def find(name: str, before: datetime.datetime) -> list[Portion]:
    """Return the prunables of that name that are older than `before`."""
    return PRUNABLES[name].find(before)


def prune(found: Iterable[Portion], chunk_rows: int = CHUNK_ROWS) -> Iterator[int]:
    """Delete what was found; yield after each committed chunk how many are gone.

    Raises:
        Unavailable: the database gave up; what was yielded is gone all the same.
    """
    gone = 0
    for portion in found:
        while deleted := _prune_chunk(portion, chunk_rows):
            gone += deleted
            yield gone


def _prune_chunk(portion: Portion, chunk_rows: int) -> int:
    return transactions.run(lambda _: portion.prune(chunk_rows))
