"""Rates: how many requests of what kind, in a burst and in the long run. Pure.

    "push=20/1s 1200/10m, export=5/1m 30/1h"   ->   {"push": (Window(20, 1), Window(1200, 600)), …}

The defaults let a device send 5,000 rows after an outage and an app ask every few seconds.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_WINDOW = re.compile(r"(\d{1,9})/(\d{1,4})([smhd])")


class Window(NamedTuple):
    """So many requests in each span of so many seconds."""

    limit: int
    seconds: int

    def __str__(self) -> str:
        return f"{self.limit}/{self.seconds}s"


Rates = dict[str, tuple[Window, ...]]  # by scope

DEFAULTS: Final = {
    "device": "50/1s 12000/10m",  # each device, or user, or integration: all that it asks
    "tenant": "2000/1s",  # all of a tenant together
    "push": "20/1s 1200/10m",
    "digest": "5/1s 120/10m",
    "export": "5/1m 60/1h",
    "login": "30/1m 300/1h",  # each address
    "login_name": "10/1m 60/1h",  # each name, known or not
    "refresh": "300/1m 6000/1h",  # each address: an office is behind one
}
# `THROTTLE_RATES` of a server whose crowd comes from one address, or is being measured.
UNLIMITED: Final = ",".join(f"{scope}=900000000/1s" for scope in DEFAULTS)


def parse_rates(text: str) -> Rates:
    """Return the default rates, with those in `text` in their place.

    Raises:
        ValueError: it cannot be read; its message goes on from the name of the variable.
    """
    chosen = dict(DEFAULTS)
    for part in filter(None, (each.strip() for each in text.split(","))):
        scope, sign, windows = (each.strip() for each in part.partition("="))
        if not sign or scope not in DEFAULTS:
            problem = f"has {part!r}, which does not begin with one of {', '.join(DEFAULTS)}"
            raise ValueError(problem)
        chosen[scope] = windows
    return {scope: _parse_windows(windows) for scope, windows in chosen.items()}


def _parse_windows(text: str) -> tuple[Window, ...]:
    windows = []
    for part in text.split():
        found = _WINDOW.fullmatch(part)
        if found is None or not int(found[1]) or not int(found[2]):
            problem = f"has {part!r}, which is not written like 20/1s or 1200/10m"
            raise ValueError(problem)
        windows.append(Window(int(found[1]), int(found[2]) * UNITS[found[3]]))
    return tuple(windows)
