"""The plan of a run, and what devices were told: what passes between the runner and Locust."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DevicePlan:
    """One device: who it is, where its rows may be, and when it comes, in seconds."""

    device: str
    token: str
    sites: list[str]
    comes_s: float
    seed: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All devices, and what each does."""

    url: str
    told_path: Path
    devices: list[DevicePlan]
    at_once_max: int
    push_rows: int
    batch_rows: int
    first_sync: bool
    rounds: int
    polls: int
    poll_s: float


@dataclasses.dataclass(slots=True, kw_only=True)
class Told:
    """What one device sent and was told; ids of rows, counts of all else.

    `healed_s` has the seconds from a request's first try to its answer, of those that had to be
    sent again: told to wait, or not answered.
    """

    device: str
    sent: list[str] = dataclasses.field(default_factory=list)
    acked: list[str] = dataclasses.field(default_factory=list)
    refused: dict[str, int] = dataclasses.field(default_factory=dict)
    statuses: dict[str, int] = dataclasses.field(default_factory=dict)  # "0": no answer
    syncs_s: list[float] = dataclasses.field(default_factory=list)
    healed_s: list[float] = dataclasses.field(default_factory=list)
    pulled: int = 0
    replays: int = 0
    without_retry_after: int = 0
    gave_up: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it for a file."""
        return dataclasses.asdict(self)


def write_plan(plan: Plan, path: Path) -> None:
    """Write a plan for Locust."""
    path.write_text(json.dumps(dataclasses.asdict(plan) | {"told_path": str(plan.told_path)}))


def read_plan(path: Path) -> Plan:
    """Return the plan that the runner has written."""
    given = json.loads(path.read_text())
    devices = [DevicePlan(**each) for each in given.pop("devices")]
    return Plan(**given | {"devices": devices, "told_path": Path(given["told_path"])})


def read_told(path: Path) -> list[Told]:
    """Return what devices were told."""
    return [Told(**each) for each in json.loads(path.read_text())]
