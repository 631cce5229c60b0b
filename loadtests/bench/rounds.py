"""Rounds: what the runs of both sides came to."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one run of one side came to; `foreign_cpu_s` is what is not the bench's at all."""

    units: int  # rows, or requests
    seconds: float
    server_cpu_s: float
    database_cpu_s: float
    foreign_cpu_s: float
    peak_bytes: int = 0  # of the memory of a device, where the run is a device's


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """The same work on both sides, one right after the other."""

    floor: Run
    product: Run
