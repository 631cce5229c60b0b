"""Logging in, staying so, and logging out: `/api/v1/auth/token`, `refresh` and `logout`."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import NotAuthenticated
from rest_framework.permissions import AllowAny
from rest_framework.response import Response
from rest_framework.views import APIView

from backend.accounts import logins
from backend.accounts.authentication import DeviceJWTAuthentication
from backend.accounts.selectors import DeviceSession
from backend.accounts.serializers import (
    LoginSerializer,
    PairSerializer,
    RefreshSerializer,
    SessionSerializer,
)
from backend.accounts.services import Credentials, Install, log_in
from backend.accounts.tokens import make_access, read_access
from sync.clock import utc_now

if TYPE_CHECKING:
    from rest_framework.request import Request


class DoorView(APIView):
    """A view for those who are not logged in yet."""

    authentication_classes = ()  # an old token must not bar the way to a new
    permission_classes = (AllowAny,)

    def get_authenticate_header(self, request: Request) -> str:  # noqa: ARG002  # DRF calls it so
        """Keep a 401 a 401: DRF turns those of views without authentication into 403."""
        return 'Bearer realm="api"'


class TokenView(DoorView):
    """Log in on a device."""

    throttle_scope = "login"

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
        now = utc_now()
        session = log_in(credentials, Install(**given["device"]), now=now)
        return Response(render_session(session, logins.begin(session, now=now)))


class RefreshView(DoorView):
    """Stay logged in."""

    throttle_scope = "refresh"

    @extend_schema(
        request=RefreshSerializer, responses=PairSerializer, tags=["auth"], operation_id="refresh"
    )
    def post(self, request: Request) -> Response:
        """Change a refresh token for a new pair."""
        body = RefreshSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        session, following = logins.refresh(body.validated_data["refresh"], now=utc_now())
        return Response({"access": make_access(session), "refresh": following})


class LogoutView(DoorView):
    """Log out; whoever has logged out already may say so again."""

    @extend_schema(request=None, responses={204: None}, tags=["auth"], operation_id="log_out")
    def post(self, request: Request) -> Response:
        """End the login of the device that asks; its tokens are worth nothing from now on."""
        authentication = DeviceJWTAuthentication()
        header = authentication.get_header(request)
        raw_token = authentication.get_raw_token(header) if header else None
        if raw_token is None:
            raise NotAuthenticated
        logins.end(read_access(raw_token, now=utc_now()))
        return Response(status=HTTPStatus.NO_CONTENT)


def render_session(session: DeviceSession, refresh: str) -> dict[str, Any]:
    """Return the answer to a login: tokens, and who logged in where."""
    tenant = session.membership.tenant
    return {
        "access": make_access(session),
        "refresh": refresh,
        "device": {"id": str(session.device.pk)},
        "user": {"id": str(session.user.pk), "role": session.membership.role},
        "tenant": {"id": str(tenant.pk), "slug": tenant.slug},
    }
