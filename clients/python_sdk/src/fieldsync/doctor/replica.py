"""Replica: whether the rows of the store are those of the server, by their sums.

    rows as received -> digest of each -> sums of 256 buckets -> the server's: equal?

Nothing is changed. Source: docs/protocol.md, "Digest and repair".
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from fieldsync.doctor.finding import Area, Check, Finding
from fieldsync.errors import FieldsyncError
from fieldsync.transport import GONE, NOT_FOUND, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fieldsync.store import ServerRow, Store
    from fieldsync.transport import Answer

    Sums = dict[str, dict[int, int]]  # collection -> bucket -> checksum

REPLICA = Check(name="rows", area=Area.STORE)
SYNC = "fieldsync sync, then fieldsync doctor again"


class _Bucket(msgspec.Struct, frozen=True):
    checksum: str


class _Collection(msgspec.Struct, frozen=True):
    buckets: dict[int, _Bucket]


class _Digest(msgspec.Struct, frozen=True):
    behind: bool
    collections: dict[str, _Collection]


_DIGEST = msgspec.json.Decoder(_Digest, strict=False)  # buckets are numbers written as names


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
    theirs = {
        name: {at: int(bucket.checksum, 16) for at, bucket in told.buckets.items()}
        for name, told in digest.collections.items()
    }
    ours = _sum(store.list_all_rows())
    names = sorted(name for name in ours | theirs if ours.get(name, {}) != theirs.get(name, {}))
    if names:
        return REPLICA.broken(
            f"differ from the server's: {', '.join(names)}",
            "keep unsent work with fieldsync export FILE, then pull all rows afresh: "
            "log in with another --store, and fieldsync import FILE there",
        )
    return REPLICA.ok(f"{store.count_rows():,} rows, equal to the server's")


def _ask_digest(cursor: str, ask: Callable[[Request], Answer]) -> _Digest | Finding:
    try:
        answer = ask(Request(method="GET", path="sync/digest", params={"cursor": cursor}))
        if answer.status == GONE:
            return REPLICA.warning("the server wants everything to be pulled afresh", SYNC)
        return _DIGEST.decode(answer.body)
    except (FieldsyncError, msgspec.MsgspecError) as error:
        if getattr(error, "status", None) == NOT_FOUND:
            return REPLICA.ok("the server has no sums to compare with")
        return REPLICA.warning(f"could not be compared ({error})", "try again")


def _sum(rows: Iterable[ServerRow]) -> Sums:
    sums: Sums = {}
    for row in rows:
        row_id = row.row_id.encode()
        bucket = hashlib.sha256(row_id).digest()[0]
        digest = hashlib.sha256(b"%b\n%d\n%b" % (row_id, row.version, row.text.encode())).digest()
        buckets = sums.setdefault(row.collection, {})
        buckets[bucket] = buckets.get(bucket, 0) ^ int.from_bytes(digest[:8])
    return sums
