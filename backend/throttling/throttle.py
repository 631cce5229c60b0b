"""The throttle of every view: which windows count a request, and whether one of them is full.

device (or address)     all that it asks
tenant                  all that its devices ask
view.throttle_scope     push, digest, export, login, refresh: besides
"""

from __future__ import annotations

import functools
import math
import random
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from django.conf import settings
from rest_framework.throttling import BaseThrottle

from backend.metrics.instruments import THROTTLED
from backend.throttling.identity import address_of, name_of, tenant_of, who_asks
from backend.throttling.meter import Count, Meter

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.views import APIView

JITTER: Final = 0.5  # of the wait, on top: those who were refused together must not come together
_making = threading.Lock()
BY_ADDRESS: Final = frozenset({"login", "refresh"})


class RateThrottle(BaseThrottle):
    """Counts a request wherever it counts; the first full window refuses it."""

    def __init__(self) -> None:
        self._full: Count | None = None

    def allow_request(self, request: Request, view: APIView) -> bool:
        """Whether the request may go on; what was counted is noted for the answer's headers."""
        counts: dict[str, list[Count]] = {}
        for scope, key in keys_of(request, view):
            for window in settings.THROTTLE_RATES[scope]:
                count = meter().count(f"{scope}/{key}", window)
                counts.setdefault(scope, []).append(count)
                if count.left < 0:
                    self._full = count
                    THROTTLED.labels(scope).inc()
                    break
            if self._full is not None:
                break
        request._request.throttle_counts = counts  # type: ignore[attr-defined]  # see `headers`
        return self._full is None

    def wait(self) -> float | None:
        """Seconds until the full window ends, and some more at random."""
        if self._full is None:
            return None
        wait_s = self._full.ends_in_s
        return math.ceil(wait_s + random.uniform(0, max(wait_s * JITTER, 1)))  # noqa: S311  # jitter


def keys_of(request: Request, view: APIView) -> Iterator[tuple[str, str]]:
    """Yield (scope, key) of all that counts a request, the narrowest first."""
    scope: str = getattr(view, "throttle_scope", "") or ""
    who = who_asks(request)
    address = f"address:{address_of(request, settings.NUM_PROXIES)}"
    if scope == "login":
        yield "login_name", name_of(_username(request))
    if scope:
        yield scope, address if scope in BY_ADDRESS else who or address
    yield "device", who or address
    if tenant := tenant_of(request):
        yield "tenant", tenant


def _username(request: Request) -> object:
    data = request.data
    return data.get("username", "") if isinstance(data, dict) else ""


def meter() -> Meter:
    """Return the process's meter; made once, when the first requests are counted."""
    with _making:
        return _make_meter()


@functools.cache
def _make_meter() -> Meter:
    return Meter(settings.THROTTLE_REDIS_URL)


def forget_meter() -> None:
    """Let the next request make another; for tests, whose settings change."""
    with _making:
        _make_meter.cache_clear()
