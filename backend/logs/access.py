"""One line for each request, and its time in the figures: who asked what, what came of it.

    POST api/v1/sync/push 200 31 ms notes:created=3        and the same, with ids, as JSON members

Nothing of what was asked for: no path with its ids, no query, no body, no token, no name.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from backend.accounts.api_keys import KeySession
from backend.accounts.selectors import DeviceSession
from backend.metrics.instruments import REQUESTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponseBase

log = logging.getLogger(__name__)

UNKNOWN: Final = "unknown"


class AccessLogMiddleware:
    """Writes the line when the answer is there; of a stream, when it begins."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Serve one request."""
        began = time.perf_counter()
        response = self.get_response(request)
        taken_s = time.perf_counter() - began
        route = request.resolver_match.route if request.resolver_match else UNKNOWN
        REQUESTS.labels(request.method, route, response.status_code).observe(taken_s)
        if log.isEnabledFor(logging.INFO):
            _write(request, response, route, round(taken_s * 1_000))
        return response


def _write(request: HttpRequest, response: HttpResponseBase, route: str, ms: int) -> None:
    outcomes = _outcomes(response)
    facts = {
        "method": request.method,
        "route": route,
        "status": response.status_code,
        "ms": ms,
        **_asker(request),
        **({"outcomes": outcomes} if outcomes else {}),
    }
    told = "".join(f" {name}={rows}" for name, rows in outcomes.items())
    log.info(
        "%s %s %d %d ms%s", request.method, route, response.status_code, ms, told, extra=facts
    )


def _asker(request: HttpRequest) -> dict[str, str]:
    """Return the ids of who asks, as the database knows them."""
    match getattr(request, "auth", None):
        case DeviceSession() as session:
            return {"tenant": str(session.tenant_id), "device": str(session.device.pk)}
        case KeySession() as session:
            return {"tenant": str(session.tenant_id), "api_key": str(session.key.pk)}
        case _:
            return {}


def _outcomes(response: HttpResponseBase) -> dict[str, int]:
    """Return how many rows came to what, if it was a push."""
    found: dict[str, int] = getattr(response, "push_outcomes", {})
    return found
