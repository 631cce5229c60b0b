"""Answers to those who watch the server: before host names, HTTPS and logins are asked for.

GET /livez    200 while the process can answer at all; the server says it by itself, see
`backend.serving.bridge`, so that a full queue is no reason to kill it
GET /readyz   200 when it can serve, 503 when not; a line for each thing it needs
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from django.http import HttpResponse, JsonResponse

from backend.health.checks import look

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponseBase

LIVE_PATH: Final = "/livez"
READY_PATH: Final = "/readyz"
ALIVE: Final = b"ok\n"


class HealthMiddleware:
    """Answers the two addresses, and passes on all others."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Serve one request."""
        if request.path == LIVE_PATH:
            return HttpResponse(ALIVE, content_type="text/plain")
        if request.path == READY_PATH:
            return _ready()
        return self.get_response(request)


def _ready() -> HttpResponse:
    findings = look()
    is_ready = all(each.is_ok for each in findings if each.is_needed)
    status = "failing" if not is_ready else "ok"
    document = {"status": status, "checks": {each.name: each.says for each in findings}}
    code = HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE
    return JsonResponse(document, status=code, headers={"Cache-Control": "no-store"})
