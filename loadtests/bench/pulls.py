"""What is pulled, and how a client knows that it got all of it: every row once, to the last byte.

    Held (from the tables)  =  rows that came: their number, and the XOR of their checksums

The checksums of the rows that come are computed from the bytes that came, by the recipe that apps
have.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

import msgspec

from loadtests.bench.errors import BenchFailed
from loadtests.bench.exchange import NOT_MODIFIED, Answer, Request
from sync.wire import digest

PULL_PATH: Final = "/api/v1/sync/pull"
DIGEST_PATH: Final = "/api/v1/sync/digest"
NDJSON: Final = "application/x-ndjson"
OK: Final = 200
PAGE_ROWS: Final = 1_000
PAGES_MAX: Final = 10_000  # a server that always has more must end the bench
ANSWER_SHOWN_MAX: Final = 500  # bytes
UNSIGNED: Final = 0xFFFF_FFFF_FFFF_FFFF


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """So many rows, and the XOR of their checksums."""

    rows: int
    checksum: int


class Line(msgspec.Struct, kw_only=True, gc=False):
    """A change, or the place behind the changes before it."""

    op: str = ""
    id: str = ""
    version: int = 0
    data: msgspec.Raw = msgspec.Raw()
    cursor: str = ""
    has_more: bool = False


class Page(msgspec.Struct, kw_only=True):
    """One page of a pull."""

    cursor: str
    has_more: bool
    changes: list[Line]


class Sums(msgspec.Struct, kw_only=True):
    """The sums of one collection."""

    count: int
    checksum: str


class Digest(msgspec.Struct, kw_only=True):
    """The answer to the question what a device holds."""

    collections: dict[str, Sums]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """Page after page, from `cursor` (none: a first sync) to the head."""

    held: Held
    cursor: str = ""
    page_rows: int = PAGE_ROWS

    @property
    def units(self) -> int:
        """The rows."""
        return self.held.rows

    def exchange(self) -> Generator[Request, Answer, None]:
        """Yield one request a page."""
        cursor = self.cursor
        for _ in range(PAGES_MAX):
            answer = yield Request(method="GET", target=_target(cursor, self.page_rows))
            place = answer.read_place()
            if place is None or not place[1]:
                return
            cursor = place[0]

    def find_failure(self, answers: Sequence[Answer]) -> str | None:
        """Return what is wrong with the pages; None if every row came once."""
        lines: list[Line] = []
        for answer in answers:
            if answer.status != OK:
                return _say_status("a pull", answer)
            page = msgspec.json.decode(answer.body, type=Page)
            lines += page.changes
        return (
            "the last page says that there is more" if page.has_more else compare(lines, self.held)
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """All there is in one answer, a line each."""

    held: Held
    cursor: str = ""
    encoding: str | None = None

    @property
    def units(self) -> int:
        """The rows."""
        return self.held.rows

    def exchange(self) -> Generator[Request, Answer, None]:
        """Yield the one request."""
        headers = {"Accept": NDJSON}
        if self.encoding:
            headers["Accept-Encoding"] = self.encoding
        yield Request(method="GET", target=_target(self.cursor), headers=headers)

    def find_failure(self, answers: Sequence[Answer]) -> str | None:
        """Return what is wrong with the stream; None if every row came once."""
        (answer,) = answers
        if answer.status != OK:
            return _say_status("a stream", answer)
        kind, packing = (answer.headers.get(n) for n in ("content-type", "content-encoding"))
        if kind != NDJSON or packing != self.encoding:
            return f"a stream came as {kind}, {packing} instead of {NDJSON}, {self.encoding}"
        decoder = msgspec.json.Decoder(Line)
        lines = [decoder.decode(line) for line in answer.body.splitlines()]
        if not lines or not lines[-1].cursor or lines[-1].has_more:
            return "a stream does not end with the cursor of the head"
        return compare((line for line in lines if not line.cursor), self.held)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """A question that is answered by 304, since nothing has changed."""

    cursor: str
    etag: str

    @property
    def units(self) -> int:
        """One request."""
        return 1

    def exchange(self) -> Generator[Request, Answer, None]:
        """Yield the one request."""
        headers = {"If-None-Match": self.etag}
        yield Request(method="GET", target=_target(self.cursor), headers=headers)

    def find_failure(self, answers: Sequence[Answer]) -> str | None:
        """Return what is wrong with the answer."""
        (answer,) = answers
        return None if answer.status == NOT_MODIFIED else _say_status("a poll", answer)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Summing:
    """The digest of all that a device holds, by collection."""

    held: Mapping[str, Held]

    @property
    def units(self) -> int:
        """One request."""
        return 1

    def exchange(self) -> Generator[Request, Answer, None]:
        """Yield the one request."""
        yield Request(method="GET", target=DIGEST_PATH)

    def find_failure(self, answers: Sequence[Answer]) -> str | None:
        """Return what is wrong with the sums."""
        (answer,) = answers
        if answer.status != OK:
            return _say_status("a digest", answer)
        found = msgspec.json.decode(answer.body, type=Digest).collections
        given = {name: (sums.count, sums.checksum) for name, sums in found.items() if sums.count}
        wanted = {
            name: (held.rows, f"{held.checksum & UNSIGNED:016x}")
            for name, held in self.held.items()
        }
        return None if given == wanted else f"the sums are {given} instead of {wanted}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How far a device has read, and the tag of its last answer, if it had one."""

    cursor: str
    etag: str | None


def last_place(answers: Sequence[Answer]) -> Place:
    """Return where a device is after these pages.

    Raises:
        BenchFailed: the last of them was no page.
    """
    place = answers[-1].read_place()
    if answers[-1].status != OK or place is None:
        raise BenchFailed(_say_status("a pull", answers[-1]))
    return Place(cursor=place[0], etag=answers[-1].headers.get("etag"))


def compare(lines: Iterable[Line], held: Held) -> str | None:
    """Return how the changes that came differ from the rows that there are."""
    seen: set[str] = set()
    checksum = count = 0
    for line in lines:
        if line.op != "upsert":
            return f"there is a change that is no row: {line.op} {line.id}"
        count += 1
        seen.add(line.id)
        checksum ^= digest(line.id, line.version, bytes(line.data))
    if count != len(seen):
        return f"{count - len(seen)} rows came twice"
    if count != held.rows:
        return f"{count} rows came instead of {held.rows}"
    return None if checksum == held.checksum else "the rows that came are not those that there are"


def _target(cursor: str, limit: int | None = None) -> str:
    asked = {"cursor": cursor, "limit": str(limit or "")}
    query = urlencode({name: value for name, value in asked.items() if value})
    return f"{PULL_PATH}?{query}" if query else PULL_PATH


def _say_status(what: str, answer: Answer) -> str:
    return f"{what} was answered {answer.status}: {answer.body[:ANSWER_SHOWN_MAX]!r}"
