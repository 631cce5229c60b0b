"""A phone that keeps rows byte for byte, and proves by digest that it holds what the server holds.

It computes what `docs/protocol.md` says with what every phone has: SHA-256 and XOR.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import urlencode

import msgspec

from tests.phones import PAGES_MAX, PULL, Phone

DIGEST, ROWS = "/api/v1/sync/digest", "/api/v1/sync/rows"

Bucket = tuple[str, int]  # a collection, and the number of one of its buckets


class Row(NamedTuple):
    """A row as it came over the link."""

    version: int
    data: bytes


@dataclasses.dataclass(frozen=True)
class Sum:
    """What a digest says of some rows."""

    count: int
    checksum: str


class _Change(msgspec.Struct):
    op: str
    collection: str
    id: str
    version: int = 0
    data: msgspec.Raw = msgspec.Raw(b"")


class _Page(msgspec.Struct):
    has_more: bool
    changes: list[_Change]
    cursor: str | None = None


def bucket_of(row_id: str) -> int:
    return hashlib.sha256(row_id.encode()).digest()[0]


def digest_of(row_id: str, row: Row) -> int:
    text = f"{row_id}\n{row.version}\n".encode() + row.data
    return int.from_bytes(hashlib.sha256(text).digest()[:8])


def sum_up(rows: Iterable[tuple[str, Row]]) -> Sum:
    count = checksum = 0
    for row_id, row in rows:
        count, checksum = count + 1, checksum ^ digest_of(row_id, row)
    return Sum(count, f"{checksum:016x}")


@dataclasses.dataclass
class ExactPhone(Phone):
    """A phone whose replica is the bytes that it was sent."""

    exact: dict[tuple[str, str], Row] = dataclasses.field(default_factory=dict)

    @classmethod
    def like(cls, phone: Phone) -> ExactPhone:
        """Return the phone of the same person, on the same device, with nothing on it yet."""
        return cls(
            tenant_id=phone.tenant_id,
            token=phone.token,
            user_id=phone.user_id,
            device_id=phone.device_id,
        )

    def pull_page(self, limit: int = 1_000) -> dict[str, Any]:
        asked = {"limit": limit} | ({"cursor": self.cursor} if self.cursor else {})
        answer = self.send("GET", f"{PULL}?{urlencode(asked)}")
        assert answer.status_code == 200, answer.content
        page = msgspec.json.decode(answer.content, type=_Page)
        for change in page.changes:
            if change.op == "upsert":
                self._put(change)
            else:
                self.exact.pop((change.collection, change.id), None)
        self.cursor = page.cursor
        found: dict[str, Any] = answer.json()
        return found

    def ask_digest(self, **headers: str) -> Any:
        """Ask for the digest, on the cursor that the phone has; return the whole answer."""
        asked = {"cursor": self.cursor} if self.cursor else {}
        return self.send("GET", f"{DIGEST}?{urlencode(asked)}", **headers)

    def digest(self) -> dict[str, Any]:
        answer = self.ask_digest()
        assert answer.status_code == 200, answer.content
        body: dict[str, Any] = answer.json()
        return body

    def differing(self) -> list[Bucket]:
        """Return the buckets in which the server holds something else; it must not be behind."""
        digest = self.digest()
        assert digest["behind"] is False
        ours, theirs = self._own_sums(), _read_sums(digest)
        return sorted(b for b in ours.keys() | theirs.keys() if ours.get(b) != theirs.get(b))

    def prove(self) -> None:
        """Pull, and prove that the replica is what the server holds for it, byte for byte."""
        self.pull()
        assert self.differing() == []

    def repair(self, limit: int = 1_000) -> list[Bucket]:
        """Fetch the buckets that differ and take them over; return which these were."""
        differing = self.differing()
        for bucket in differing:
            sent = self.fetch(*bucket, limit=limit)
            for key in [k for k in self.exact if _bucket(k) == bucket and k not in sent]:
                del self.exact[key]
            for change in sent.values():
                self._put(change)
        return differing

    def fetch(
        self, collection: str, bucket: int, limit: int = 1_000
    ) -> dict[tuple[str, str], _Change]:
        """Return the rows of a bucket, each page asked for behind the last row before."""
        asked = {"collection": collection, "bucket": bucket, "limit": limit}
        found: dict[tuple[str, str], _Change] = {}
        for _ in range(PAGES_MAX):
            answer = self.send("GET", f"{ROWS}?{urlencode(asked)}")
            assert answer.status_code == 200, answer.content
            page = msgspec.json.decode(answer.content, type=_Page)
            assert len(page.changes) <= limit
            for change in page.changes:
                key = change.collection, change.id
                assert (change.op, _bucket(key), key in found) == (
                    "upsert", (collection, bucket), False
                )  # fmt: skip
                found[key] = change
            if not page.has_more:
                return found
            asked["after"] = page.changes[-1].id
        raise AssertionError("the pages of this bucket never end")

    def _put(self, change: _Change) -> None:
        row = Row(change.version, bytes(change.data))
        self.exact[change.collection, change.id] = row

    def _own_sums(self) -> dict[Bucket, Sum]:
        rows: dict[Bucket, list[tuple[str, Row]]] = {}
        for key, row in self.exact.items():
            rows.setdefault(_bucket(key), []).append((key[1], row))
        return {bucket: sum_up(found) for bucket, found in rows.items()}


def _bucket(key: tuple[str, str]) -> Bucket:
    return key[0], bucket_of(key[1])


def _read_sums(digest: dict[str, Any]) -> dict[Bucket, Sum]:
    """Return the sums of a digest, once those of its collections are found to be theirs."""
    found: dict[Bucket, Sum] = {}
    for collection, whole in digest["collections"].items():
        sums = {int(n): Sum(**each) for n, each in whole["buckets"].items()}
        checksum = 0
        for each in sums.values():
            checksum ^= int(each.checksum, 16)
        assert whole["count"] == sum(each.count for each in sums.values())
        assert whole["checksum"] == f"{checksum:016x}"
        found |= {(collection, number): each for number, each in sums.items()}
    return found
