"""Devices over HTTP: `/api/v1/auth/devices/`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.response import Response
from rest_framework.views import APIView

from backend.accounts import devices
from backend.accounts.models import Device
from backend.accounts.selectors import DeviceSession
from sync.api.parameters import parse_after, parse_id
from sync.clock import utc_now

if TYPE_CHECKING:
    from uuid import UUID

    from rest_framework.request import Request


class DeviceSerializer(serializers.ModelSerializer[Device]):
    """A device; what it can do is said by its user's membership."""

    user = serializers.UUIDField(source="user_id", read_only=True)
    username = serializers.CharField(source="user.username", read_only=True)

    class Meta:
        model = Device
        fields = [
            *("id", "name", "user", "username", "platform", "app_version"),
            *("created_at", "last_seen_at", "revoked_at"),
        ]
        read_only_fields = [
            *("platform", "app_version", "created_at", "last_seen_at", "revoked_at"),
        ]


class DevicePageShape(serializers.Serializer[Any]):
    """Some devices."""

    results = DeviceSerializer(many=True)
    next = serializers.UUIDField(allow_null=True, help_text="Send it as `after`.")


class RevokeSerializer(serializers.Serializer[Any]):
    """How to lock a device out."""

    wipe = serializers.BooleanField(
        default=False, help_text="Tell the app to delete what it holds."
    )


class DevicesView(APIView):
    """`/api/v1/auth/devices/`."""

    @extend_schema(
        tags=["auth"],
        operation_id="list_devices",
        parameters=[
            OpenApiParameter("user", OpenApiTypes.UUID, description="Only this user's."),
            OpenApiParameter(
                "after", OpenApiTypes.UUID, description="The `next` of the page before."
            ),
        ],
        responses=DevicePageShape,
    )
    def get(self, request: Request) -> Response:
        """List one's own devices; an admin lists the tenant's."""
        query = request.query_params
        page, following = devices.read_page(
            session_of(request),
            user_id=parse_id("user", query.get("user")),
            after=parse_after(query.get("after")),
        )
        return Response({"results": DeviceSerializer(page, many=True).data, "next": following})


class DeviceView(APIView):
    """`/api/v1/auth/devices/{id}/`."""

    @extend_schema(tags=["auth"], operation_id="read_device", responses=DeviceSerializer)
    def get(self, request: Request, device_id: UUID) -> Response:
        """Give one device."""
        return Response(DeviceSerializer(devices.find(session_of(request), device_id)).data)

    @extend_schema(
        tags=["auth"],
        operation_id="rename_device",
        request=DeviceSerializer,
        responses=DeviceSerializer,
    )
    def patch(self, request: Request, device_id: UUID) -> Response:
        """Give a device a name."""
        session = session_of(request)
        body = DeviceSerializer(data=request.data, partial=True)
        body.is_valid(raise_exception=True)
        name = body.validated_data.get("name")
        found = (
            devices.find(session, device_id)
            if name is None
            else devices.rename(session, device_id, name)
        )
        return Response(DeviceSerializer(found).data)


class RevokeView(APIView):
    """`/api/v1/auth/devices/{id}/revoke/`."""

    @extend_schema(
        tags=["auth"],
        operation_id="revoke_device",
        request=RevokeSerializer,
        responses=DeviceSerializer,
    )
    def post(self, request: Request, device_id: UUID) -> Response:
        """Lock a device out, from its next request on."""
        session = session_of(request)
        body = RevokeSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        found = devices.revoke(
            session, device_id, must_wipe=body.validated_data["wipe"], now=utc_now()
        )
        return Response(DeviceSerializer(found).data)


def session_of(request: Request) -> DeviceSession:
    """Return the session of the device that asks.

    Raises:
        PermissionDenied: it is no device; the office has pages of its own for this.
    """
    if not isinstance(request.auth, DeviceSession):
        raise PermissionDenied("Log in on a device.")
    return request.auth
