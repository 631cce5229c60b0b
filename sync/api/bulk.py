"""The bulk endpoints: a plain list of one collection's rows, as a push.

    POST | PATCH | DELETE /api/v1/work-orders/bulk/?policy=       body: [{"id": …, …}, …]

    bytes -> BulkSerializer.is_valid -> PushRequest -> BulkSerializer.save -> the report of a push

Every collection has an address of its own, so that the API description shows its fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import serializers

from sync import clock, push, wire
from sync.api.actor import actor_of
from sync.api.body import read_json_body
from sync.api.short_lived import ShortLived
from sync.api.versions import Version, version_of
from sync.api.views import KEY, PUSHED, respond
from sync.conf import sync_settings
from sync.errors import ParameterInvalid
from sync.push_body import PushRequest, parse_rows
from sync.registry import Collection, ranked_collections
from sync.types import Op, Policy

if TYPE_CHECKING:
    import datetime

    from django.http import HttpResponse
    from rest_framework.request import Request

    from sync.receipts import Answer
    from sync.types import Actor

_OPS = {"POST": Op.CREATE, "PATCH": Op.UPDATE, "DELETE": Op.DELETE}
_POLICY = OpenApiParameter(
    "policy", str, enum=list(Policy), description="What stands or falls together."
)
_DRY = OpenApiParameter(
    "validate_only", bool, description="Answer the report, write nothing, leave the key free."
)


class BulkSerializer(serializers.ListSerializer[Any]):
    """A list of rows that is saved as one push.

    The list is valid when it can be understood; what is wrong with a row is that row's outcome,
    judged by the child serializer inside the push, so that one bad row leaves the others alone.
    """

    validated_data: PushRequest  # not rows, but what is to become of them

    def __init__(
        self,
        *,
        collection: Collection,
        op: Op,
        policy: Policy,
        validate_only: bool,
        body: bytes,
    ) -> None:
        super().__init__(data=body, child=collection.serializer(partial=op is Op.UPDATE))
        self._collection = collection
        self._op = op
        self._policy = policy
        self._validate_only = validate_only

    def run_validation(self, data: bytes) -> PushRequest:  # type: ignore[override]  # see above
        """Return the push that the list stands for.

        Raises:
            BodyMalformed, LimitExceeded: it cannot be understood, or is too long.
        """
        limits = sync_settings()
        return parse_rows(
            data,
            op=self._op,
            collection=self._collection.name,
            policy=self._policy,
            validate_only=self._validate_only,
            rows_max=limits.push_rows_max,
            depth_max=limits.json_depth_max,
        )

    def save(  # type: ignore[override]  # answers what became of the rows
        self,
        *,
        actor: Actor,
        version: Version,
        key: str | None,
        route: str,
        now: datetime.datetime,
    ) -> Answer:
        """Carry the push out; return its answer.

        Raises:
            KeyRequired, KeyReused, RequestInFlight, Unavailable: as `push.carry_out`.
        """
        fingerprint = wire.fingerprint(route, self.initial_data)
        asked = version.down_push(self.validated_data)
        return push.carry_out(actor, asked, key=key, fingerprint=fingerprint, now=now)


class BulkView(ShortLived):
    """`/api/v1/{collection}/bulk/` of one collection."""

    collection: ClassVar[Collection]
    throttle_scope = "push"

    def post(self, request: Request) -> HttpResponse:
        """Create rows."""
        return self._push(request)

    def patch(self, request: Request) -> HttpResponse:
        """Update rows: of each the fields that changed."""
        return self._push(request)

    def delete(self, request: Request) -> HttpResponse:
        """Delete rows."""
        return self._push(request)

    def _push(self, request: Request) -> HttpResponse:
        policy, validate_only = _parse_query(request)
        serializer = BulkSerializer(
            collection=self.collection,
            op=_OPS[str(request.method)],
            policy=policy,
            validate_only=validate_only,
            body=read_json_body(request),
        )
        serializer.is_valid(raise_exception=True)
        answer = serializer.save(
            actor=actor_of(request),
            version=version_of(request),
            key=push.parse_key(request.headers.get("Idempotency-Key")),
            route=f"{request.method} {request.path}?policy={policy}",
            now=clock.utc_now(),
        )
        return respond(request, answer)


def bulk_views() -> dict[str, type[BulkView]]:
    """Return the view of every collection, by the collection's name."""
    return {name: _bulk_view(found) for name, found in ranked_collections().items()}


def _parse_query(request: Request) -> tuple[Policy, bool]:
    query = request.query_params
    policy = query.get("policy", Policy.ALL_OR_NOTHING)
    if policy not in list(Policy):
        raise ParameterInvalid("policy", f"must be one of {', '.join(Policy)}")
    validate_only = query.get("validate_only", "false")
    if validate_only not in {"true", "false"}:
        raise ParameterInvalid("validate_only", "must be true or false")
    return Policy(policy), validate_only == "true"


def _bulk_view(collection: Collection) -> type[BulkView]:
    name = collection.name
    view = type(f"{type(collection).__name__}BulkView", (BulkView,), {"collection": collection})
    described = {
        method.lower(): extend_schema(
            operation_id=f"{name}_bulk_{op}",
            parameters=[KEY, _POLICY, _DRY],
            request={"application/json": _shape(collection, op)},
            responses=PUSHED,
        )
        for method, op in _OPS.items()
    }
    decorated: type[BulkView] = extend_schema_view(**described)(view)
    return decorated


def _shape(collection: Collection, op: Op) -> serializers.BaseSerializer[Any]:
    """Return the shape of one of the list's items, for the API description alone."""
    base = collection.serializer

    def get_fields(shape: Any) -> dict[str, Any]:
        members: dict[str, Any] = {"id": serializers.UUIDField()}
        if op is not Op.CREATE:
            members["base_version"] = serializers.IntegerField(min_value=0)
        if op is Op.DELETE:
            return members
        fields = base.get_fields(shape).items()
        return members | {name: field for name, field in fields if not field.read_only}

    title = f"{type(collection).__name__}Bulk{op.title()}"
    shape = type(title, (base,), {"get_fields": get_fields, "__doc__": base.__doc__})
    found: serializers.BaseSerializer[Any] = shape(many=True, partial=op is Op.UPDATE)
    return found
