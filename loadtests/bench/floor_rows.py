"""What the floor makes of a push's mutations. Pure: rows in, rows and a report out.

(mutations, rows as they are, first free number) -> rows to write, report
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from sync.clock import render_time
from sync.wire import bucket, digest

_encoder = msgspec.json.Encoder()
encode = _encoder.encode


class Row(msgspec.Struct, kw_only=True, gc=False):
    """A work order as it travels, in the order in which its JSON is stored."""

    number: str = ""
    kind: str
    status: str = "open"
    priority: int = 3
    site: str
    asset: str | None = None
    assignee: str | None = None
    title: str
    description: str = ""
    due_at: str | None = None
    completed_at: str | None = None
    tasks: list[Any] = []


class Create(msgspec.Struct, tag_field="op", tag="create", gc=False):
    """A new row."""

    collection: str
    id: str
    data: Row


class Update(msgspec.Struct, tag_field="op", tag="update", gc=False):
    """An edit of some fields."""

    collection: str
    id: str
    base_version: int
    data: dict[str, Any]


class Push(msgspec.Struct):
    """What is pushed."""

    mutations: list[Create | Update]
    policy: str


class Written(msgspec.Struct, gc=False):
    """One row as the database gets it: its payload is JSON within JSON."""

    n: int
    id: str
    version: int
    field_versions: dict[str, int]
    payload: msgspec.Raw
    digest: int
    bucket: int
    scopes: list[str]


class Line(msgspec.Struct, omit_defaults=True, gc=False):
    """What the report says of one mutation."""

    index: int
    collection: str
    id: str
    outcome: str
    code: str | None = None
    version: int | None = None


class Report(msgspec.Struct):
    """The answer."""

    status: str
    server_time: str
    results: list[Line]


@dataclasses.dataclass(frozen=True, slots=True)
class Stored:
    """A row as it is, its JSON unread."""

    version: int
    field_versions: str
    payload: str
    scopes: list[str]


parse: msgspec.json.Decoder[Push] = msgspec.json.Decoder(Push)


def decide(
    mutations: Sequence[Create | Update],
    *,
    stored: Mapping[str, Stored],
    number: int,
    territory: str,
) -> tuple[list[Written], list[Line]]:
    """Return the rows to write, and what becomes of each mutation.

    `number` is the first of as many as there are creates; `territory` is the scope of new rows.
    """
    written: list[Written] = []
    lines: list[Line] = []
    for index, mutation in enumerate(mutations):
        n = len(written) + 1
        if isinstance(mutation, Create):
            row: Written | None = _create(mutation, n, f"WO-{number:06d}", territory)
            number += 1
            outcome, code = "created", None
        else:
            row = _update(mutation, n, stored.get(mutation.id))
            outcome, code = ("updated", None) if row else ("conflict", "version_mismatch")
        if row is not None:
            written.append(row)
        version = row.version if row else None
        lines.append(Line(index, mutation.collection, mutation.id, outcome, code, version))
    return written, lines


def report(written: Sequence[Written], lines: list[Line], now: datetime.datetime) -> bytes:
    """Return the answer that `decide` came to."""
    is_whole = len(written) == len(lines)
    status = "ok" if is_whole else "partial" if written else "rejected"
    return encode(Report(status, render_time(now), lines))


def _create(mutation: Create, n: int, number: str, territory: str) -> Written:
    mutation.data.number = number
    assignee = mutation.data.assignee
    scopes = [territory, f"user:{assignee}"] if assignee else [territory]
    payload = encode(mutation.data)
    raw, checksum = msgspec.Raw(payload), digest(mutation.id, 1, payload)
    return Written(n, mutation.id, 1, {}, raw, checksum, bucket(mutation.id), scopes)


def _update(mutation: Update, n: int, row: Stored | None) -> Written | None:
    if row is None or row.version != mutation.base_version:
        return None
    version = row.version + 1
    payload = encode(msgspec.json.decode(row.payload) | mutation.data)
    field_versions = msgspec.json.decode(row.field_versions)
    field_versions |= dict.fromkeys(mutation.data, version)
    raw, checksum = msgspec.Raw(payload), digest(mutation.id, version, payload)
    return Written(
        n, mutation.id, version, field_versions, raw, checksum, bucket(mutation.id), row.scopes
    )
