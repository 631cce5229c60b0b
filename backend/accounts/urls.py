"""Addresses under `/api/v1/auth/`."""

from __future__ import annotations

from django.urls import path

from backend.accounts.views import RefreshView, TokenView

urlpatterns = [
    path("token", TokenView.as_view(), name="token"),
    path("refresh", RefreshView.as_view(), name="refresh"),
]
