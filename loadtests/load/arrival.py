"""When each device comes: seconds from the start of a run. Pure but for the file of calls.

The morning is that of real calls (city service requests), read from a file where there is one;
without it, from how they come in, in twelve quarters of an hour.
"""

from __future__ import annotations

import csv
import datetime as dt
import itertools
import random
from bisect import bisect
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from loadtests.load.profile import Arrival, Profile

CALLS: Final = Path(__file__).parents[3] / "shared" / "data" / "nyc_311_animals_2025.csv"
FROM_HOUR, TO_HOUR = 7, 10
QUARTERS: Final = (2, 2, 3, 4, 6, 8, 9, 10, 11, 11, 12, 12)  # parts of the morning's calls


def draw_arrivals(profile: Profile, rng: random.Random) -> list[float]:
    """Return when each device comes, in order."""
    match profile.arrival:
        case Arrival.AT_ONCE:
            found = [0.0] * profile.devices
        case Arrival.EVENLY:
            found = [n * profile.arrival_s / profile.devices for n in range(profile.devices)]
        case Arrival.MORNING:
            shape = read_morning(CALLS)
            found = [_draw(shape, rng) * profile.arrival_s for _ in range(profile.devices)]
    return sorted(found)


def read_morning(path: Path) -> list[int]:
    """Return how many calls come in each quarter of an hour of the morning."""
    if not path.is_file():
        return list(QUARTERS)
    quarters = [0] * ((TO_HOUR - FROM_HOUR) * 4)
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            at = dt.datetime.strptime(row["Created Date"], "%m/%d/%Y %H:%M")  # noqa: DTZ007  # a clock on a wall
            if FROM_HOUR <= at.hour < TO_HOUR:
                quarters[(at.hour - FROM_HOUR) * 4 + at.minute // 15] += 1
    return quarters


def _draw(shape: Sequence[int], rng: random.Random) -> float:
    """Return a moment of the morning, 0 to 1, as likely as calls are then."""
    sums = list(itertools.accumulate(shape))
    part = bisect(sums, rng.random() * sums[-1])
    return (min(part, len(shape) - 1) + rng.random()) / len(shape)
