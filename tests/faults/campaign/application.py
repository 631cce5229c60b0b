"""The campaign's server: ours, with a clock that can jump, failpoints, and perhaps a planted bug.

FAILPOINT_CONTROL=host:port    every failpoint asks there before it passes
CLOCK_FILE=…                   its text is how many seconds the clock is ahead
PLANTED_BUG=name               see `server_bugs`
"""

from __future__ import annotations

import datetime
import os
from pathlib import Path

from sync import clock

_right = clock.utc_now
_file = Path(os.environ["CLOCK_FILE"])


def utc_now() -> datetime.datetime:
    """Return what the server takes for now."""
    return _right() + datetime.timedelta(seconds=float(_file.read_text() or 0))


clock.utc_now = utc_now  # before anything has taken it over by name

# isort: split
from backend.asgi import application  # noqa: E402
from tests.faults.arming import arm_failpoints  # noqa: E402
from tests.faults.campaign import server_bugs  # noqa: E402

if os.environ.get("FAILPOINT_CONTROL"):
    arm_failpoints()
if os.environ.get("PLANTED_BUG"):
    server_bugs.BUGS[os.environ["PLANTED_BUG"]].plant()

__all__ = ["application"]
