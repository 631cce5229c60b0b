"""Headers that tell clients of an old version so: Deprecation (RFC 9745), Sunset (RFC 8594), Link.

/api/v1/…  ->  Deprecation: @1796083200
Sunset: Mon, 01 Jan 2029 00:00:00 GMT
Link: </api/docs/>; rel="deprecation", </api/v2/…>; rel="successor-version"
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from django.utils.http import http_date

from backend.versions import CURRENT, DEPRECATED, SUNSET

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponseBase

_VERSION: Final = re.compile(r"^/api/(v\d+)/")
EXPLAINED_AT: Final = "/api/docs/"


class VersionHeadersMiddleware:
    """Adds them to whatever an old version answers, errors too."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Serve one request."""
        response = self.get_response(request)
        found = _VERSION.match(request.path)
        if found is None or found[1] not in DEPRECATED:
            return response
        version = found[1]
        same = request.path.removeprefix(f"/api/{version}/")
        successor = f"/api/{CURRENT}/{quote(same)}"  # whatever the client wrote there
        response["Deprecation"] = f"@{DEPRECATED[version].timestamp():.0f}"
        response["Sunset"] = http_date(SUNSET[version].timestamp())
        response["Link"] = (
            f'<{EXPLAINED_AT}>; rel="deprecation", <{successor}>; rel="successor-version"'
        )
        return response
