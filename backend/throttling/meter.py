"""Meter: counts requests in windows, in Redis for all processes, or here where there is none.

    count(key, window) -> how many are left, and how long the window still lasts

Windows begin at full multiples of their length, so that one increment says it all, and is atomic:
of any number at once, exactly as many pass as may. At a border up to twice as many can come close
together; the longer window holds that down. When Redis is away each process counts for itself, and
looks for it again after a while: that must neither hold requests up nor refuse them.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Final, NamedTuple

import redis  # noqa: F401  # before `limits` asks for its version: one half imported has none
from limits.errors import StorageError
from limits.storage import MemoryStorage, Storage, storage_from_string

from backend.throttling.rates import Window

log = logging.getLogger(__name__)

PREFIX: Final = "throttle"
AGAIN_AFTER_S: Final = 5.0  # a Redis that is away is not knocked at by every request
TIMEOUT_S: Final = 0.25
OPTIONS: Final = {"socket_connect_timeout": TIMEOUT_S, "socket_timeout": TIMEOUT_S}


class Count(NamedTuple):
    """What one window says."""

    window: Window
    left: int  # requests; below zero, this one is too many
    ends_in_s: float


class Meter:
    """Counts for one process, together with all others on the same Redis. Shared by threads."""

    def __init__(self, redis_url: str) -> None:
        self._local = MemoryStorage()
        self._shared = _connect(redis_url) if redis_url else None
        self._not_before = 0.0  # monotonic seconds
        self._lock = threading.Lock()

    def count(self, key: str, window: Window, *, now: float | None = None) -> Count:
        """Count one request of `key` in the window that it is in."""
        now = time.time() if now is None else now
        place, passed_s = divmod(now, window.seconds)
        name = f"{PREFIX}/{key}/{window.seconds}/{int(place)}"
        ends_in_s = window.seconds - passed_s
        used = self._increment(name, window.seconds)
        return Count(window, window.limit - used, ends_in_s)

    def _increment(self, name: str, seconds: int) -> int:
        shared = self._shared
        if shared is not None and time.monotonic() >= self._not_before:
            try:
                return shared.incr(name, seconds)
            except (StorageError, shared.base_exceptions) as error:  # type: ignore[misc]  # classes, by its word
                self._note_away(error)
        return self._local.incr(name, seconds)

    def _note_away(self, error: Exception) -> None:
        with self._lock:
            if time.monotonic() >= self._not_before:
                log.warning("Redis is away, each process throttles for itself: %r", error)
            self._not_before = time.monotonic() + AGAIN_AFTER_S


def _connect(redis_url: str) -> Storage:
    made = storage_from_string(_spell(redis_url), **OPTIONS)
    if not isinstance(made, Storage):
        raise TypeError(redis_url.partition("://")[0])
    return made


def _spell(redis_url: str) -> str:
    """Return the URL as `limits` spells it."""
    return f"redis+{redis_url}" if redis_url.startswith("unix:") else redis_url
