"""The endpoints of the quarantine: list it, look at one, apply it, discard it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from sync import clock, review
from sync.api import serializers as shapes
from sync.api.actor import actor_of
from sync.api.body import read_optional_json_body
from sync.api.parameters import parse_after, parse_limit
from sync.api.versions import version_of
from sync.types import ParkedState

_PROBLEM = "application/problem+json"
_NOT_YOURS: dict[Any, Any] = {
    (403, _PROBLEM): shapes.ProblemShape,
    (404, _PROBLEM): shapes.ProblemShape,
}


class QuarantineView(APIView):
    """`GET /api/v1/sync/quarantine/`."""

    @extend_schema(
        operation_id="sync_quarantine_list",
        parameters=[
            OpenApiParameter("state", str, enum=list(ParkedState), description="Default: open."),
            OpenApiParameter("after", UUID, description="The id of the last one before."),
            OpenApiParameter("limit", int, description="At most so many."),
        ],
        responses={200: shapes.QuarantinePageShape, (403, _PROBLEM): shapes.ProblemShape},
    )
    def get(self, request: Request) -> Response:
        """List parked mutations, oldest first."""
        query = request.query_params
        page = review.read_page(
            actor_of(request),
            state=query.get("state"),
            after=parse_after(query.get("after")),
            limit=parse_limit(query.get("limit")),
        )
        version = version_of(request)
        return Response({**page, "parked": [version.up_parked(each) for each in page["parked"]]})


class ParkedView(APIView):
    """`GET /api/v1/sync/quarantine/{id}/`."""

    @extend_schema(
        operation_id="sync_quarantine_read", responses={200: shapes.ParkedShape, **_NOT_YOURS}
    )
    def get(self, request: Request, parked_id: UUID) -> Response:
        """Give one parked mutation, settled or not."""
        parked = review.read(actor_of(request), parked_id)
        return Response(version_of(request).up_parked(parked))


class ApplyView(APIView):
    """`POST /api/v1/sync/quarantine/{id}/apply/`."""

    @extend_schema(
        operation_id="sync_quarantine_apply",
        request=shapes.EditShape,
        responses={
            200: shapes.ResultShape,
            **_NOT_YOURS,
            (409, _PROBLEM): shapes.RefusedAgainShape,
            (422, _PROBLEM): shapes.RefusedAgainShape,
        },
    )
    def post(self, request: Request, parked_id: UUID) -> Response:
        """Apply a parked mutation, as it was sent or edited; answers with its result."""
        actor, version = actor_of(request), version_of(request)
        edit = review.parse_edit(read_optional_json_body(request))
        if edit.data is not None and not version.is_inner:
            collection = review.read(actor, parked_id)["mutation"]["collection"]
            edit = msgspec.structs.replace(edit, data=version.down(collection, edit.data))
        line = review.apply(actor, parked_id, edit, clock.utc_now())
        return Response(version.up_result(line))


class DiscardView(APIView):
    """`POST /api/v1/sync/quarantine/{id}/discard/`."""

    @extend_schema(
        operation_id="sync_quarantine_discard",
        request=shapes.DiscardShape,
        responses={
            200: shapes.ParkedShape,
            **_NOT_YOURS,
            (409, _PROBLEM): shapes.RefusedAgainShape,
        },
    )
    def post(self, request: Request, parked_id: UUID) -> Response:
        """Settle a parked mutation without applying it."""
        reason = review.parse_reason(read_optional_json_body(request))
        parked = review.discard(actor_of(request), parked_id, reason, clock.utc_now())
        return Response(version_of(request).up_parked(parked))
