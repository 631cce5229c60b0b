"""Settings: how an engine behaves."""

from __future__ import annotations

from collections.abc import Callable  # at run time: dataclass fields
from dataclasses import dataclass
from datetime import datetime
from random import Random

from fieldsync.retry import RetryPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How an engine behaves. `now` is aware UTC; `rng` is for jitter, never for ids or keys."""

    retry: RetryPolicy
    push_rows_max: int
    rng: Random
    now: Callable[[], datetime]
    collections: tuple[str, ...] = ()  # what is synced; none: all
    check_s: float = 86_400.0  # so often the replica is compared with the server
    poll_s: float  # a client that syncs by itself asks so often, pokes or not
    settle_s: float = 1.0  # edits made in a row travel together
    offline_s_max: float = 300.0  # the longest wait before a link is tried again
