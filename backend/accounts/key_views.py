"""API keys over HTTP, for a tenant's admins: `/api/v1/auth/keys/`."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.response import Response
from rest_framework.views import APIView

from backend.accounts import api_keys
from backend.accounts.device_views import session_of
from backend.accounts.models import ApiKey, Role
from sync.api.parameters import parse_after
from sync.clock import utc_now
from sync.registry import ranked_collections

if TYPE_CHECKING:
    import datetime as dt
    from uuid import UUID

    from rest_framework.request import Request

    from backend.accounts.selectors import DeviceSession


class CollectionField(serializers.CharField):
    """The name of a collection."""

    def to_internal_value(self, data: Any) -> str:
        """Return the name.

        Raises:
            ValidationError: there is no such collection.
        """
        name: str = super().to_internal_value(data)
        if name not in ranked_collections():
            known = ", ".join(ranked_collections())
            raise serializers.ValidationError(f"Must be one of {known}.", code="invalid_choice")
        return name


class ApiKeySerializer(serializers.ModelSerializer[ApiKey]):
    """A key, without its secret."""

    reads = serializers.ListField(
        child=CollectionField(max_length=64),
        max_length=50,
        help_text="Collections that it may read; those that it may write are among them.",
    )
    writes = serializers.ListField(
        child=CollectionField(max_length=64), max_length=50, default=list
    )

    class Meta:
        model = ApiKey
        fields = [
            *("id", "name", "prefix", "reads", "writes", "created_at"),
            *("expires_at", "last_used_at", "revoked_at"),
        ]
        read_only_fields = ["prefix", "created_at", "last_used_at", "revoked_at"]

    def validate_expires_at(self, value: dt.datetime | None) -> dt.datetime | None:
        """Refuse a key that is worth nothing."""
        if value is not None and value <= utc_now():
            raise serializers.ValidationError("Must be in the future.", code="min_value")
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse a key that may nothing."""
        if not attrs["reads"] and not attrs["writes"]:
            raise serializers.ValidationError({"reads": ["Name at least one."]}, code="required")
        return attrs


class NewApiKeySerializer(ApiKeySerializer):
    """A key as it was made: the only answer that has its text."""

    key = serializers.CharField(help_text="Send it as `Authorization: Api-Key …`. Keep it.")

    class Meta(ApiKeySerializer.Meta):
        fields = [*ApiKeySerializer.Meta.fields, "key"]


class ApiKeyPageShape(serializers.Serializer[Any]):
    """Some keys."""

    results = ApiKeySerializer(many=True)
    next = serializers.UUIDField(allow_null=True, help_text="Send it as `after`.")


class ApiKeysView(APIView):
    """`/api/v1/auth/keys/`."""

    @extend_schema(
        tags=["auth"],
        operation_id="list_api_keys",
        parameters=[
            OpenApiParameter(
                "after", OpenApiTypes.UUID, description="The `next` of the page before."
            ),
        ],
        responses=ApiKeyPageShape,
    )
    def get(self, request: Request) -> Response:
        """List the tenant's API keys."""
        after = parse_after(request.query_params.get("after"))
        page, following = api_keys.read_page(admin_of(request), after=after)
        return Response({"results": ApiKeySerializer(page, many=True).data, "next": following})

    @extend_schema(
        tags=["auth"],
        operation_id="make_api_key",
        request=ApiKeySerializer,
        responses={201: NewApiKeySerializer},
    )
    def post(self, request: Request) -> Response:
        """Make an API key; its text is told now, and never again."""
        session = admin_of(request)
        body = ApiKeySerializer(data=request.data)
        body.is_valid(raise_exception=True)
        given = body.validated_data
        key, text = api_keys.make(
            session,
            name=given["name"],
            reads=given["reads"],
            writes=given["writes"],
            expires_at=given.get("expires_at"),
            now=utc_now(),
        )
        shown = {**ApiKeySerializer(key).data, "key": text}
        return Response(shown, status=HTTPStatus.CREATED, headers={"Cache-Control": "no-store"})


class ApiKeyView(APIView):
    """`/api/v1/auth/keys/{id}/`."""

    @extend_schema(tags=["auth"], operation_id="read_api_key", responses=ApiKeySerializer)
    def get(self, request: Request, key_id: UUID) -> Response:
        """Give one API key."""
        return Response(ApiKeySerializer(api_keys.find(admin_of(request), key_id)).data)


class RevokeApiKeyView(APIView):
    """`/api/v1/auth/keys/{id}/revoke/`."""

    @extend_schema(
        tags=["auth"], operation_id="revoke_api_key", request=None, responses=ApiKeySerializer
    )
    def post(self, request: Request, key_id: UUID) -> Response:
        """Make an API key worthless, from its next request on."""
        key = api_keys.revoke(admin_of(request), key_id, now=utc_now())
        return Response(ApiKeySerializer(key).data)


def admin_of(request: Request) -> DeviceSession:
    """Return the session of the admin who asks.

    Raises:
        PermissionDenied: it is somebody else, or a key: keys make no keys.
    """
    session = session_of(request)
    if session.membership.role != Role.ADMIN:
        raise PermissionDenied("Only an admin of the tenant manages API keys.")
    return session
