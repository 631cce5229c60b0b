"""Row-level security over HTTP: for whom a request works before it is known who asks.

admin pages .......... every tenant: they are the operator's
anything else ........ nobody, until authentication or `sync.api.actor` binds it to a tenant
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sync.row_security import Unbound, bind, nobody

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponseBase

ADMIN = "admin"  # the name of its addresses


class RowSecurityMiddleware:
    """Serves each request for no tenant, but for the admin's pages."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Serve one request."""
        with nobody():
            return self.get_response(request)

    def process_view(self, request: HttpRequest, *_: Any) -> None:
        """Open the admin's pages."""
        found = request.resolver_match
        if found is not None and ADMIN in found.app_names:
            bind(Unbound.EVERYBODY)
