"""`/metrics`, for Prometheus.

It is answered to whoever sends METRICS_TOKEN as a bearer token, and is not there for anybody else,
nor where no token is set: figures by tenant are nobody's business.
"""

from __future__ import annotations

import hmac
import logging
import os
from typing import TYPE_CHECKING, Final

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpResponse
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from backend.metrics.database import DatabaseCollector
from backend.metrics.processes import VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponseBase

log = logging.getLogger(__name__)

PATH: Final = "/metrics"


class MetricsMiddleware:
    """Answers `/metrics`, and passes on all else."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Serve one request."""
        if request.path == PATH and _may_look(request):
            return HttpResponse(render(), content_type=CONTENT_TYPE_LATEST)
        return self.get_response(request)


def render() -> bytes:
    """Return all figures, as Prometheus reads them."""
    shown = generate_latest(_registry())
    database = CollectorRegistry()
    try:
        database.register(DatabaseCollector())
        return shown + generate_latest(database)
    except DatabaseError as error:
        log.warning("figures without those of the database: %s", error)
        return shown


def _registry() -> CollectorRegistry:
    if VARIABLE not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


def _may_look(request: HttpRequest) -> bool:
    token: str = settings.METRICS_TOKEN
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    return bool(token) and hmac.compare_digest(token.encode(), given.encode())
