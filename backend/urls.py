"""Every address of the server.

    /api/v1/, v2/   logging in, sync and the domain's collections, in the shapes of that version
    /api/schema/    OpenAPI 3.1           /api/docs/      the same, to read and to try
    /admin/         the office

Under /api/ every error is a problem document, also those of addresses that do not exist.
"""

from __future__ import annotations

from itertools import chain

from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from backend import error_pages
from backend.versions import CHAIN, CURRENT


class PointerView(RedirectView):
    """Shows whoever looks where something is."""

    http_method_names = ("get", "head", "options")


urlpatterns = [
    path("", PointerView.as_view(pattern_name="docs")),
    path("admin/", admin.site.urls),
    path("api/docs/", PointerView.as_view(pattern_name=f"docs-{CURRENT}"), name="docs"),
    path("api/schema/", PointerView.as_view(pattern_name=f"schema-{CURRENT}"), name="schema"),
    *chain.from_iterable(
        (
            path(
                f"api/schema/{version}/",
                SpectacularAPIView.as_view(api_version=version),
                name=f"schema-{version}",
            ),
            path(
                f"api/docs/{version}/",
                SpectacularSwaggerView.as_view(url_name=f"schema-{version}"),
                name=f"docs-{version}",
            ),
        )
        for version in CHAIN
    ),
    *(
        path(f"api/{version}/", include(("backend.api_urls", "api"), namespace=version))
        for version in CHAIN
    ),
    # Last: without it, DEBUG answers unknown addresses with a page, and a POST that lacks its
    # slash with an exception.
    re_path(r"^api/(?!(?:docs|schema)(?:/v\d+)?$)", error_pages.unknown_address),
]

handler400 = error_pages.bad_request
handler403 = error_pages.permission_denied
handler404 = error_pages.not_found
handler500 = error_pages.server_error
