"""Request ids: one name for a request in its answer, its error document and its log lines.

    X-Request-Id of the client if sane, else a new one -> request.request_id, logs, X-Request-Id

Other code reads it from the request; only log records take it from the context.
"""

from __future__ import annotations

import contextvars
import logging
import re
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponseBase

HEADER = "X-Request-Id"
# Long enough for a UUID or a trace id; no spaces or controls, so that it cannot forge a log line.
SANE = re.compile(r"[A-Za-z0-9._\-]{8,64}")

_current: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="-")


def choose_request_id(given: str) -> str:
    """Return the id that the client gave if it is sane, else a new one."""
    return given if SANE.fullmatch(given) else str(uuid.uuid4())


def run_as(request_id: str) -> contextvars.Context:
    """Return a context in which log lines carry `request_id`, for what goes on after the view."""
    context = contextvars.copy_context()
    context.run(_current.set, request_id)
    return context


class RequestIdMiddleware:
    """Gives each request its id, and the answer the same."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Serve one request under its id."""
        request_id = choose_request_id(request.headers.get(HEADER, ""))
        request.request_id = request_id  # type: ignore[attr-defined]  # Django's way to add one
        mark = _current.set(request_id)
        try:
            response = self.get_response(request)
        finally:
            _current.reset(mark)
        response.headers[HEADER] = request_id
        return response


class RequestIdFilter(logging.Filter):
    """Puts the id of the request being served, or `-`, on each log record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep every record."""
        # Django logs bad answers when the middleware has left, but gives the request along.
        request = getattr(record, "request", None)
        record.request_id = getattr(request, "request_id", None) or _current.get()
        return True
