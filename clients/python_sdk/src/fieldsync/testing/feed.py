"""Feed: what a small server tells of its rows: pages, streams, sums. Written from the protocol.

cursor = epoch:seq:collections          tag = epoch, head, who asks, collections
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2

from fieldsync.testing.answers import answer, problem, render
from fieldsync.testing.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Mapping

NDJSON = "application/x-ndjson"


@dataclass(frozen=True)
class Asked:
    """Who asks for what."""

    user: str
    device: str
    params: Mapping[str, str]
    headers: Mapping[str, str]

    def reader(self) -> Reader:
        """Who reads, and what of it all."""
        return Reader(self.user, self.device, self.params.get("collections", ""))


@dataclass(frozen=True)
class Reader:
    """Who reads, and what of it all."""

    user: str
    device: str
    collections: str = ""  # with commas; none: all

    def wants(self, collection: str) -> bool:
        """Whether the reader's collections have this one."""
        return not self.collections or collection in self.collections.split(",")


class Feed(Rows):
    """Rows that can be pulled."""

    def __init__(self) -> None:
        super().__init__()
        self.epoch: int = 1
        self.floor: int = 0
        self.can_stream = True  # else it answers pages to those who want lines
        self.gone_code: str | None = None  # answers the next pull with this, a 410 or so

    def _pull(self, asked: Asked) -> httpx2.Response:
        reader, params = asked.reader(), asked.params
        if (refusal := self._refuse(params)) is not None:
            return refusal
        cursor, limit = params.get("cursor", ""), int(params["limit"])
        if self.can_stream and NDJSON in asked.headers.get("accept", ""):
            return self._stream(reader, cursor, limit)
        page = self._page(reader, cursor, limit)
        tag = f'W/"{self.epoch}-{self.state.head}-{reader.user}-{reader.collections}"'
        if cursor and not page["changes"] and asked.headers.get("if-none-match") == tag:
            return httpx2.Response(304, headers={"etag": tag})
        return answer(200, render(page).encode(), {"etag": tag})

    def _refuse(self, params: Mapping[str, str]) -> httpx2.Response | None:
        """The 410 of a cursor that cannot go on."""
        if self.gone_code is not None:
            code, self.gone_code = self.gone_code, None
            return problem(400 if code == "cursor_invalid" else 410, code)
        if "cursor" not in params:
            return None
        epoch, after, _ = self._read(params["cursor"])
        if epoch != self.epoch:
            return problem(410, "epoch_changed")
        return problem(410, "cursor_expired") if after < self.floor else None

    def _read(self, cursor: str) -> tuple[int, int, str]:
        """Epoch, seq and collections of a cursor; those of a first sync without one."""
        epoch, after, known, *_ = (
            [*cursor.split(":"), ""] if cursor else [str(self.epoch), "0", ""]
        )
        return int(epoch), int(after), known

    def _page(self, reader: Reader, cursor: str, limit: int) -> dict[str, Any]:
        _, after, known = self._read(cursor)
        moves = self._moves(reader, known, after) if cursor else []
        entries = [
            entry for entry in self.list_entries(reader.user, after) if reader.wants(entry[1][0])
        ]
        page = entries[:limit]
        has_more = len(entries) > len(page)
        scanned = page[-1][0] if has_more else max(self.state.head, after)
        changes = [self.tell(name, reader.device, reader.user) for _, name in page]
        if not cursor:
            changes = [change for change in changes if change["op"] == "upsert"]
        return {
            "cursor": f"{self.epoch}:{scanned}:{reader.collections}",
            "has_more": has_more,
            "server_time": "",
            "changes": moves + changes,
        }

    def _moves(self, reader: Reader, known: str, after: int) -> list[dict[str, Any]]:
        """What the reader is to forget, and what it sees now and did not before."""
        if known == reader.collections:
            return []
        before = Reader(reader.user, reader.device, known)
        exits, news = [], []
        for name, seq in self.state.feed.items():
            if seq > after:
                continue
            if before.wants(name[0]) and not reader.wants(name[0]):
                exits.append({"collection": name[0], "id": name[1], "op": "scope_exit"})
            elif reader.wants(name[0]) and not before.wants(name[0]):
                news.append(self.tell(name, reader.device, reader.user))
        return exits + [change for change in news if change["op"] == "upsert"]

    def _stream(self, reader: Reader, cursor: str, limit: int) -> httpx2.Response:
        lines: list[str] = []
        has_more = True
        while has_more:
            page = self._page(reader, cursor, limit)
            lines += map(render, page.pop("changes"))
            lines.append(render(page))
            cursor, has_more = page["cursor"], page["has_more"]
        body = "".join(f"{line}\n" for line in lines).encode()
        return httpx2.Response(200, headers={"content-type": NDJSON}, content=body)

    # digest and repair

    def _digest(self, asked: Asked) -> httpx2.Response:
        reader, params = asked.reader(), asked.params
        if (refusal := self._refuse(params)) is not None:
            return refusal
        is_behind = False
        if "cursor" in params:
            page = self._page(reader, params["cursor"], 1)
            is_behind = page["has_more"] or bool(page["changes"])
        collections: dict[str, Any] = {}
        for name in self._held(reader):
            sums = collections.setdefault(name[0], {"buckets": {}})["buckets"]
            mine = sums.setdefault(str(bucket_of(name[1])), {"count": 0, "checksum": "0"})
            row = self.state.rows[name]
            digest = digest_of(name[1], row.version, render(row.data))
            mine["count"] += 1
            mine["checksum"] = f"{int(mine['checksum'], 16) ^ digest:016x}"
        body = {"server_time": "", "behind": is_behind, "collections": collections}
        return answer(200, render(body).encode())

    def _rows(self, asked: Asked) -> httpx2.Response:
        params = asked.params
        reader = Reader(asked.user, asked.device, params["collection"])
        after, bucket, limit = params.get("after", ""), int(params["bucket"]), int(params["limit"])
        names = sorted(
            name for name in self._held(reader) if bucket_of(name[1]) == bucket and name[1] > after
        )
        changes = [self.tell(name, asked.device, asked.user) for name in names[:limit]]
        body = {"has_more": len(names) > limit, "server_time": "", "changes": changes}
        return answer(200, render(body).encode())

    def _held(self, reader: Reader) -> list[tuple[str, str]]:
        """The live rows that the reader sees."""
        return [
            name
            for name, row in self.state.rows.items()
            if not row.is_deleted
            and reader.wants(name[0])
            and (reader.user, *name) not in self.hidden
        ]


def bucket_of(row_id: str) -> int:
    """The first byte of the hash of the id."""
    return hashlib.sha256(row_id.encode()).digest()[0]


def digest_of(row_id: str, version: int, data: str) -> int:
    """The first 8 bytes of the hash of id, version and data, a line feed between them."""
    text = "\n".join([row_id, str(version), data])
    return int(hashlib.sha256(text.encode()).hexdigest()[:16], 16)
