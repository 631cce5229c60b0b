"""Clock: time that passes when a test says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

BEGAN_AT = datetime(2026, 1, 1, 8, tzinfo=UTC)


class Clock:
    """A client's time: `Client(..., now=clock.now, sleep=clock.sleep)`.

    What the client waits after failures takes no time: it is noted in `waits_s`, and the clock
    moves on by as much.
    """

    def __init__(self, began_at: datetime = BEGAN_AT) -> None:
        self._now = began_at
        self.waits_s: list[float] = []

    def now(self) -> datetime:
        """What the clock shows: aware, UTC."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Wait, in no time."""
        self.waits_s.append(seconds)
        self.pass_by(timedelta(seconds=seconds))

    def pass_by(self, time: timedelta) -> None:
        """Let `time` pass; a negative one puts the clock back."""
        self._now += time
