"""Finding: what one check has found, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"  # it works, but somebody should look at it
    BROKEN = "broken"  # syncing cannot work, or the store cannot be used


class Area(StrEnum):
    """Where the trouble lies: who has to do something about it."""

    STORE = "store"
    LINK = "link"
    LOGIN = "login"
    APP = "app"  # this program is too old
    SERVER = "server"
    WORK = "work"  # a person has to decide, or to sync


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check: a line of what was found, and one of what to do about it."""

    check: str
    area: Area
    level: Level
    found: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check of a name and an area; what it found is said by its level."""

    name: str
    area: Area

    def ok(self, found: str) -> Finding:
        """All is well."""
        return Finding(check=self.name, area=self.area, level=Level.OK, found=found)

    def warning(self, found: str, remedy: str) -> Finding:
        """It works, but look at it."""
        return self._trouble(Level.WARNING, found, remedy)

    def broken(self, found: str, remedy: str) -> Finding:
        """It does not work."""
        return self._trouble(Level.BROKEN, found, remedy)

    def _trouble(self, level: Level, found: str, remedy: str) -> Finding:
        return Finding(check=self.name, area=self.area, level=level, found=found, remedy=remedy)
