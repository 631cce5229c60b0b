"""The bench's one error."""

from __future__ import annotations


class BenchFailed(Exception):
    """A push did not do what it had to: figures of such a run would be worth nothing."""
