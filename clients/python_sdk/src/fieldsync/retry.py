"""Retry: how long to wait after a failure, and when to stop. Pure: it never sleeps.

    failure -> RetryBudget.next_wait_s() -> seconds to wait, or None: the budget is spent

Back-off has *full* jitter, so that 500 phones that lost one server do not come back together.
A wait that the server asked for is kept in full, with jitter on top, for the same reason.
A retry library was no fit: the budget spans all requests of one sync, and waits are injected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from random import Random

RETRY_AFTER_JITTER = 0.25  # of the wait asked for: spreads a crowd, costs nobody much


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How much trouble one `sync()` bears before it gives up (the work is kept)."""

    attempts_max: int = 6  # tries of one request; progress starts the count again
    wait_s_max: float = 60.0  # all waits of one sync together
    backoff_first_s: float = 0.5
    backoff_s_max: float = 15.0


class RetryBudget:
    """What is left of a policy in one sync."""

    def __init__(self, policy: RetryPolicy, rng: Random) -> None:
        self._policy = policy
        self._rng = rng
        self.failures = 0  # in a row
        self.retries = 0  # tries that followed a failure
        self.waited_s = 0.0

    def note_progress(self) -> None:
        """A request got its answer: the next failure is a first one again."""
        self.failures = 0

    def next_wait_s(self, retry_after_s: float | None = None) -> float | None:
        """Seconds to wait before the next try, or None when the budget is spent."""
        self.failures += 1
        if self.failures >= self._policy.attempts_max:
            return None
        wait_s = self._draw_wait_s(retry_after_s)
        if self.waited_s + wait_s > self._policy.wait_s_max:
            return None
        self.waited_s += wait_s
        return wait_s

    def _draw_wait_s(self, retry_after_s: float | None) -> float:
        if retry_after_s is not None:
            asked_s = max(retry_after_s, 0.0)
            return asked_s + self._rng.uniform(0, max(asked_s, 1.0) * RETRY_AFTER_JITTER)
        ceiling_s = self._policy.backoff_first_s * 2 ** (self.failures - 1)
        return self._rng.uniform(0, min(ceiling_s, self._policy.backoff_s_max))
