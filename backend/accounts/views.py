"""Logging in and staying so: `/api/v1/auth/token` and `/api/v1/auth/refresh`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.response import Response
from rest_framework.views import APIView

from backend.accounts.serializers import (
    LoginSerializer,
    PairSerializer,
    RefreshSerializer,
    SessionSerializer,
)
from backend.accounts.services import Credentials, Install, log_in, refresh
from backend.accounts.tokens import make_pair
from sync.clock import utc_now

if TYPE_CHECKING:
    from rest_framework.request import Request

    from backend.accounts.selectors import DeviceSession


class DoorView(APIView):
    """A view for those who are not logged in yet."""

    authentication_classes = ()  # an old token must not bar the way to a new
    permission_classes = (AllowAny,)

    def get_authenticate_header(self, request: Request) -> str:  # noqa: ARG002  # DRF calls it so
        """Keep a 401 a 401: DRF turns those of views without authentication into 403."""
        return 'Bearer realm="api"'


class TokenView(DoorView):
    """Log in on a device."""

    @extend_schema(
        request=LoginSerializer, responses=SessionSerializer, tags=["auth"], operation_id="log_in"
    )
    def post(self, request: Request) -> Response:
        """Change a username and password for tokens; registers the device."""
        body = LoginSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        given = body.validated_data
        credentials = Credentials(
            username=given["username"],
            password=given["password"],
            tenant_slug=given.get("tenant", ""),
        )
        session = log_in(credentials, Install(**given["device"]), now=utc_now())
        return Response(render_session(session))


class RefreshView(DoorView):
    """Stay logged in."""

    @extend_schema(
        request=RefreshSerializer, responses=PairSerializer, tags=["auth"], operation_id="refresh"
    )
    def post(self, request: Request) -> Response:
        """Change a refresh token for a new pair."""
        body = RefreshSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        session = refresh(body.validated_data["refresh"])
        return Response(dataclasses.asdict(make_pair(session)))


def render_session(session: DeviceSession) -> dict[str, Any]:
    """Return the answer to a login: tokens, and who logged in where."""
    tenant = session.membership.tenant
    return {
        **dataclasses.asdict(make_pair(session)),
        "device": {"id": str(session.device.pk)},
        "user": {"id": str(session.user.pk), "role": session.membership.role},
        "tenant": {"id": str(tenant.pk), "slug": tenant.slug},
    }
