"""Addresses under `/api/v1/auth/`."""

from __future__ import annotations

from django.urls import path

from backend.accounts.device_views import DevicesView, DeviceView, RevokeView
from backend.accounts.key_views import ApiKeysView, ApiKeyView, RevokeApiKeyView
from backend.accounts.views import LogoutView, RefreshView, TokenView

urlpatterns = [
    path("token", TokenView.as_view(), name="token"),
    path("refresh", RefreshView.as_view(), name="refresh"),
    path("logout", LogoutView.as_view(), name="logout"),
    path("devices/", DevicesView.as_view(), name="devices"),
    path("devices/<uuid:device_id>/", DeviceView.as_view(), name="device"),
    path("devices/<uuid:device_id>/revoke/", RevokeView.as_view(), name="device-revoke"),
    path("keys/", ApiKeysView.as_view(), name="api-keys"),
    path("keys/<uuid:key_id>/", ApiKeyView.as_view(), name="api-key"),
    path("keys/<uuid:key_id>/revoke/", RevokeApiKeyView.as_view(), name="api-key-revoke"),
]
