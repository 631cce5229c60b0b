"""Records: what a world remembers of what people wrote, and how its steps are told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from watched import Name

Op = tuple[str, int, str]  # what is done to which row of which collection
# A field edited before, if any; what the office does; during which request what is edited.
Clash = tuple[str, str, str, tuple[str, str]]
Meanwhile = tuple[str, str, int, str, str]  # the request's path, and an edit


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A value that somebody wrote into a field, and must find again."""

    phone: int
    user: str
    name: Name
    field: str
    value: str  # canonical

    @property
    def place(self) -> tuple[int, str, Name, str]:
        """Where it was written, and by whom: a later value in the same place counts instead."""
        return self.phone, self.user, self.name, self.field


@dataclass(slots=True, kw_only=True)
class Visit:
    """What was written as one group, and counts as such: (row, value)."""

    members: list[tuple[Name, str]] = field(default_factory=list)
    is_whole: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """A row that somebody deleted, as they saw it. `must_be`: it must come true."""

    phone: int
    name: Name
    view: dict[str, Any]
    must_be: bool
