"""How devices authenticate, for the API description."""

from __future__ import annotations

from drf_spectacular.contrib.rest_framework_simplejwt import SimpleJWTScheme


class DeviceJWTScheme(SimpleJWTScheme):  # type: ignore[no-untyped-call]
    """A bearer token from `/api/v1/auth/token`."""

    target_class = "backend.accounts.authentication.DeviceJWTAuthentication"
    name = "deviceToken"
