"""Row-level security over HTTP: for whom a request works before it is known who asks.

admin pages .......... every tenant: they are the operator's
anything else ........ nobody, until authentication or `sync.api.actor` binds it to a tenant
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.urls import reverse

from sync.row_security import every_tenant, nobody

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponseBase


class RowSecurityMiddleware:
    """Serves each request for no tenant, but for the admin's pages."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Serve one request."""
        is_admin = request.path.startswith(reverse("admin:index"))
        with every_tenant() if is_admin else nobody():
            return self.get_response(request)
