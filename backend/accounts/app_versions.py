"""Versions of apps: which of two is older.

1.9 < 1.10 < 1.10.1        1.10-beta = 1.10        dev = 0: it says nothing
"""

from __future__ import annotations

import re
from typing import Final

_NUMBERS: Final = re.compile(r"\d{1,9}(?:\.\d{1,9})*", re.ASCII)


def is_older(version: str, minimum: str) -> bool:
    """Whether an app is older than the version that it has to have; an empty one is no demand."""
    return bool(minimum) and _parse(version) < _parse(minimum)


def _parse(version: str) -> tuple[int, ...]:
    found = _NUMBERS.match(version.strip().removeprefix("v"))
    numbers = [int(number) for number in found[0].split(".")] if found else []
    while numbers and numbers[-1] == 0:  # 2.0 is 2
        numbers.pop()
    return tuple(numbers)
