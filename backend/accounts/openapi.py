"""How devices and integrations authenticate, for the API description."""

from __future__ import annotations

from drf_spectacular.contrib.rest_framework_simplejwt import SimpleJWTScheme
from drf_spectacular.extensions import OpenApiAuthenticationExtension


class DeviceJWTScheme(SimpleJWTScheme):  # type: ignore[no-untyped-call]
    """A bearer token from `/api/v1/auth/token`."""

    target_class = "backend.accounts.authentication.DeviceJWTAuthentication"
    name = "deviceToken"


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """A key from `/api/v1/auth/keys/`."""

    target_class = "backend.accounts.key_authentication.ApiKeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:  # noqa: ARG002
        """Return how OpenAPI says it."""
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "`Api-Key fsk_…`, of a program of the tenant's own.",
        }
