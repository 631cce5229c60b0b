"""Replica: whether the rows of the store are the server's, by their sums. Nothing is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fieldsync.digest import Digest, Sum, Sums, parse_digest
from fieldsync.doctor.finding import Area, Check, Finding
from fieldsync.errors import FieldsyncError
from fieldsync.transport import Request
from fieldsync.verdict import NOT_FOUND, find_lost_cursor
from fieldsync.wire import Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable

    from fieldsync.store import Store
    from fieldsync.transport import Answer

REPLICA = Check(name="rows", area=Area.STORE)
SYNC = "fieldsync sync, then fieldsync doctor again"
SLICE_ROWS = 2_000  # read at a time


def check_replica(store: Store, ask: Callable[[Request], Answer]) -> Finding:
    """Compare the rows as last pulled with what the server holds for this device."""
    cursor = store.get_meta("cursor")
    if cursor is None or store.get_meta("is_fresh"):
        return REPLICA.warning("not everything was pulled yet", "fieldsync sync")
    digest = _ask_digest(cursor, ask)
    if isinstance(digest, Finding):
        return digest
    if digest.behind:
        return REPLICA.warning("the server has news: pull first, then compare", SYNC)
    names = sorted({*store.list_collections(), *digest.collections})
    wrong = [name for name in names if _sum_up(store, name) != _told(digest, name)]
    if wrong:
        return REPLICA.broken(
            f"differ from the server's: {', '.join(wrong)}", "fieldsync sync --verify mends them"
        )
    return REPLICA.ok(f"{store.count_rows():,} rows, equal to the server's")


def _ask_digest(cursor: str, ask: Callable[[Request], Answer]) -> Digest | Finding:
    try:
        answer = ask(Request(method="GET", path="sync/digest", params={"cursor": cursor}))
        if find_lost_cursor(answer):
            return REPLICA.warning("the server wants everything to be pulled afresh", SYNC)
        return parse_digest(answer.body)
    except (FieldsyncError, Unreadable) as error:
        if getattr(error, "status", None) == NOT_FOUND:
            return REPLICA.ok("the server has no sums to compare with")
        return REPLICA.warning(f"could not be compared ({error})", "try again")


def _sum_up(store: Store, collection: str) -> dict[int, Sum]:
    sums, after = Sums(), ""
    while rows := store.list_slice(collection, after, SLICE_ROWS):
        sums.add(rows)
        after = rows[-1][0]
    return sums.by_bucket()


def _told(digest: Digest, collection: str) -> dict[int, Sum]:
    told = digest.collections.get(collection)
    buckets = told.buckets if told else {}
    return {at: Sum(each.count, int(each.checksum, 16)) for at, each in buckets.items()}
