"""The endpoints: read the request, call the use case, answer its bytes."""

from __future__ import annotations

import dataclasses
from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from sync import clock, push, receipts, wire
from sync.api import answers, serializers as shapes
from sync.api.actor import actor_of
from sync.api.body import read_json_body
from sync.api.inflate import ENCODINGS
from sync.api.short_lived import ShortLived
from sync.api.versions import version_of
from sync.conf import sync_settings
from sync.errors import KeyRequired

JSON, PROBLEM_JSON = "application/json", "application/problem+json"
FIRST_ERROR_STATUS = 400

KEY = OpenApiParameter(
    "Idempotency-Key",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    required=True,
    description="Made by the client, one per batch; repeat it when you repeat the request.",
)

PUSHED: dict[Any, Any] = {
    200: shapes.ReportShape,
    (409, PROBLEM_JSON): shapes.RejectedShape,
    (422, PROBLEM_JSON): shapes.RejectedShape,
    (400, PROBLEM_JSON): shapes.ProblemShape,
    (413, PROBLEM_JSON): shapes.ProblemShape,
    (503, PROBLEM_JSON): shapes.ProblemShape,
}


def respond(request: Request, answer: receipts.Answer) -> HttpResponse:
    """Return a push's answer as HTTP."""
    is_error = answer.status >= FIRST_ERROR_STATUS
    response = HttpResponse(
        version_of(request).up_report(answer.body),
        status=answer.status,
        content_type=PROBLEM_JSON if is_error else JSON,
    )
    answers.note_outcomes(response, answer)
    if answer.is_replay:
        response["Idempotency-Replayed"] = "true"
    return response


class PushView(ShortLived):
    """`POST /api/v1/sync/push`."""

    throttle_scope = "push"

    @extend_schema(
        operation_id="sync_push",
        parameters=[KEY],
        request=shapes.PushShape,
        responses=PUSHED,
    )
    def post(self, request: Request) -> HttpResponse:
        """Push a batch of mutations; answers with one result for every mutation."""
        actor, body = actor_of(request), read_json_body(request)
        answer = push.carry_out(
            actor,
            version_of(request).down_push(push.read(body)),
            key=push.parse_key(request.headers.get("Idempotency-Key")),
            fingerprint=wire.fingerprint(f"POST {request.path}", body),
            now=clock.utc_now(),
        )
        return respond(request, answer)


class ReceiptView(ShortLived):
    """`GET /api/v1/sync/receipts/{key}`."""

    @extend_schema(
        operation_id="sync_receipt",
        responses={
            200: shapes.ReportShape,
            (404, "application/problem+json"): shapes.ProblemShape,
        },
    )
    def get(self, request: Request, key: str) -> HttpResponse:
        """Give the stored answer of an earlier push again."""
        parsed = push.parse_key(key)
        if parsed is None:
            raise KeyRequired
        return respond(request, receipts.find(actor_of(request), parsed))


class LimitsView(ShortLived):
    """`GET /api/v1/sync/limits`."""

    @extend_schema(operation_id="sync_limits", responses={200: shapes.LimitsShape})
    def get(self, request: Request) -> Response:  # noqa: ARG002
        """Publish the limits of this server."""
        limits = dataclasses.asdict(sync_settings()) | {"content_encodings": ENCODINGS}
        return Response({name: limits[str(name)] for name in shapes.LimitsShape().fields})
