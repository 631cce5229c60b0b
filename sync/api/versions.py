"""Versions: rows of one shape inside, and of as many as there are versions at the edge.

    inside, v1   {"title": "Pump", "assignee": "<id>"}
      | up               ^ down             one step for each version, whatever the road
    v2           {"summary": "Pump", "assignee": {"id": "<id>"}}

A project names the steps from each version to the one before in `SYNC["VERSIONS"]`; the first
version is the shape inside, and is never touched: its answers are bytes that are not even parsed.
All others are made here, from whole documents: rows, lines, reports, pages, problems. The engine
below knows nothing of it.

A name that a version does not have must not slip through: so a renamed field's two names change
places, and the engine finds the old one to be unknown, under the name that the client gave it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
from django.utils.module_loading import import_string
from msgspec.structs import replace

from sync import wire
from sync.conf import sync_settings

if TYPE_CHECKING:
    from rest_framework.request import Request

    from sync.push_body import PushRequest
    from sync.types import Wire

Convert = Callable[[Any], Any]
RawLine = dict[str, msgspec.Raw]
UPSERT: Final = b'"upsert"'


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field that a version has in another way: its name there, and how its value converts.

    `shape` converts the schema of its value, for the API description.
    """

    name: str
    up: Convert = lambda value: value
    down: Convert = lambda value: value
    shape: Convert = lambda schema: schema


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """What one version changed in one collection, by the names of the version before.

    `known_by` is a field that the API description's shapes of its rows have, and no others.
    """

    collection: str
    known_by: str
    fields: Mapping[str, Field]

    def up(self, row: Wire) -> Wire:
        """Return a row, or some of its fields, of the version before as this one has it."""
        return {
            self.renamed(name): self.fields[name].up(value) if name in self.fields else value
            for name, value in row.items()
        }

    def down(self, row: Wire) -> Wire:
        """Return the opposite."""
        found: Wire = {}
        for name, value in row.items():
            before = self.renamed(name)
            field = self.fields.get(before)
            found[before] = field.down(value) if field and field.name == name else value
        return found

    def renamed(self, name: str) -> str:
        """Return a field's other name: the two change places."""
        return self._names.get(name, name)

    @functools.cached_property
    def _names(self) -> dict[str, str]:
        there = {name: field.name for name, field in self.fields.items()}
        return {**{name: before for before, name in there.items()}, **there}


class Version:
    """All that lies between the shape inside and one version."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps: dict[str, list[Step]] = {}
        for step in steps:
            self._steps.setdefault(step.collection, []).append(step)

    @property
    def is_inner(self) -> bool:
        """Whether this is the shape inside, with which there is nothing to do."""
        return not self._steps

    def up(self, collection: str, row: Wire) -> Wire:
        """Return a row, or some of its fields, as the version has it."""
        for step in self._steps.get(collection, ()):
            row = step.up(row)
        return row

    def down(self, collection: str, row: Wire) -> Wire:
        """Return what was sent in the version as it is inside."""
        for step in reversed(self._steps.get(collection, ())):
            row = step.down(row)
        return row

    def up_path(self, collection: str, path: str) -> str:
        """Return the path of a field, `tasks.0.text`, as the version has it."""
        name, dot, rest = path.partition(".")
        for step in self._steps.get(collection, ()):
            name = step.renamed(name)
        return f"{name}{dot}{rest}"

    # documents

    def down_push(self, push: PushRequest) -> PushRequest:
        """Return a push as it is inside."""
        if self.is_inner:
            return push
        mutations = [replace(m, data=self.down(m.collection, m.data)) for m in push.mutations]
        return replace(push, mutations=mutations)

    def up_row(self, collection: str, body: bytes) -> bytes:
        """Return a row's JSON."""
        if collection not in self._steps or not body:
            return body
        return wire.encode(self.up(collection, wire.decode(body)))

    def up_report(self, body: bytes) -> bytes:
        """Return a push's report, or the problem that it is part of."""
        if self.is_inner:
            return body
        report = wire.decode(body)
        if "results" in report:
            report["results"] = [self.up_result(line) for line in report["results"]]
        return wire.encode(report)

    def up_result(self, line: Wire) -> Wire:
        """Return what became of one mutation."""
        collection = line["collection"]
        found = self.up_errors(collection, line)
        if found.get("current"):
            found["current"] = self.up(collection, found["current"])
        return found

    def up_errors(self, collection: str, document: Wire) -> Wire:
        """Return a document with the paths of its `errors`, and the names of its `fields`."""
        found = dict(document)
        if "errors" in found:
            found["errors"] = [
                {**error, "path": self.up_path(collection, error["path"])}
                for error in found["errors"]
            ]
        if "fields" in found:
            found["fields"] = sorted(self.up_path(collection, name) for name in found["fields"])
        return found

    def up_parked(self, parked: Wire) -> Wire:
        """Return a parked mutation."""
        mutation = parked["mutation"]
        collection = mutation["collection"]
        found = self.up_errors(collection, parked)
        found["args"] = self.up_errors(collection, parked["args"])
        data = mutation["data"]
        if isinstance(data, dict):
            found["mutation"] = {**mutation, "data": self.up(collection, data)}
        edit = parked["edit"]
        if edit and isinstance(edit.get("data"), dict):
            found["edit"] = {**edit, "data": self.up(collection, edit["data"])}
        return found

    def up_page(self, body: bytes) -> bytes:
        """Return a page of a pull, or rows that are sent again."""
        if self.is_inner:
            return body
        page = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        changes = msgspec.json.decode(page["changes"], type=list[RawLine])
        page["changes"] = msgspec.Raw(wire.encode([self._up_change(each) for each in changes]))
        return wire.encode(page)

    def up_lines(self, body: bytes) -> bytes:
        """Return a part of a stream: lines, of which one may be a cursor's."""
        if self.is_inner:
            return body
        lines = [msgspec.json.decode(line, type=RawLine) for line in body.splitlines()]
        return b"".join(wire.encode(self._up_change(line)) + b"\n" for line in lines)

    def _up_change(self, change: RawLine) -> RawLine:
        """Return a change; an upsert with its checksum, since that is over the bytes inside."""
        if bytes(change.get("op", b"")) != UPSERT:
            return change
        collection, row_id = (
            wire.decode(bytes(change["collection"])),
            wire.decode(bytes(change["id"])),
        )
        data = bytes(change["data"])
        checksum = wire.digest(row_id, wire.decode(bytes(change["version"])), data)
        return {
            **change,
            "data": msgspec.Raw(self.up_row(collection, data)),
            "digest": msgspec.Raw(wire.encode(wire.render_checksum(checksum))),
        }


_INNER: Final = Version(())


def version_of(request: Request | None) -> Version:
    """Return the version that the request's address names."""
    name = getattr(request, "version", None)  # none yet, where a request failed early
    return _versions(sync_settings().versions).get(str(name), _INNER)


@functools.cache
def _versions(dotted_path: str) -> dict[str, Version]:
    """Return the versions by name: each has its own steps, and those of all before."""
    found: dict[str, Version] = {}
    steps: list[Step] = []
    chain: Mapping[str, Sequence[Step]] = import_string(dotted_path) if dotted_path else {}
    for name, own in chain.items():
        steps = [*steps, *own]
        found[name] = Version(steps)
    return found
