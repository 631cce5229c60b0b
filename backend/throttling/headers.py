"""Headers: what a client may still ask, on every answer that was counted.

    RateLimit-Policy: "device";q=50;w=1, "device";q=12000;w=600, "push";q=20;w=1
    RateLimit: "device";r=11998;t=420

The first says all that counts; the second, of the window that is nearest to its end of requests.
Source: draft-ietf-httpapi-ratelimit-headers-10 (structured fields, RFC 9651).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from django.http import HttpRequest, HttpResponseBase

    from backend.throttling.meter import Count


class RateLimitMiddleware:
    """Puts the headers on the answer."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer one request."""
        response = self.get_response(request)
        counts: Mapping[str, Sequence[Count]] = getattr(request, "throttle_counts", {})
        if counts:
            response.headers["RateLimit-Policy"] = _policy(counts)
            response.headers["RateLimit"] = _nearest(counts)
        return response


def _policy(counts: Mapping[str, Sequence[Count]]) -> str:
    return ", ".join(
        f'"{scope}";q={count.window.limit};w={count.window.seconds}'
        for scope, found in counts.items()
        for count in found
    )


def _nearest(counts: Mapping[str, Sequence[Count]]) -> str:
    scope, count = min(
        ((scope, count) for scope, found in counts.items() for count in found),
        key=lambda pair: pair[1].left / pair[1].window.limit,
    )
    return f'"{scope}";r={max(count.left, 0)};t={math.ceil(count.ends_in_s)}'
