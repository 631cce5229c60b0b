"""What there is in each version of the API."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [
    path("auth/", include("backend.accounts.urls")),
    path("", include("sync.api.urls")),
    path("", include("backend.rest.urls")),
]
