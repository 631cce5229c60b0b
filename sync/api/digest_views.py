"""The endpoints of the digest: sums of what the device holds, and the rows of one bucket."""

from __future__ import annotations

from typing import Final

from django.http import HttpResponse, HttpResponseNotModified
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request

from sync import clock, digests
from sync.api import answers, compression, serializers as shapes
from sync.api.actor import actor_of
from sync.api.parameters import parse_bucket, parse_collections, parse_limit, parse_row_id
from sync.api.short_lived import ShortLived
from sync.api.versions import version_of

_PROBLEM: Final = "application/problem+json"


class DigestView(ShortLived):
    """`GET /api/v1/sync/digest`."""

    throttle_scope = "digest"

    @extend_schema(
        operation_id="sync_digest",
        parameters=[
            OpenApiParameter("cursor", str, description="To be told whether there is news."),
            OpenApiParameter("collections", str, description="Names with commas; none: all."),
            OpenApiParameter(
                "If-None-Match", str, OpenApiParameter.HEADER, description="The last `ETag`."
            ),
        ],
        responses={
            200: shapes.DigestShape,
            304: None,
            (400, _PROBLEM): shapes.ProblemShape,
            (410, _PROBLEM): shapes.ProblemShape,
        },
    )
    def get(self, request: Request) -> HttpResponse:
        """Sum up what the server holds for this device, so that it can prove to have the same."""
        query = request.query_params
        digest = digests.read_digest(
            actor_of(request),
            cursor=query.get("cursor") or None,
            collections=parse_collections(query.get("collections")),
            is_known=lambda etag: answers.is_known(etag, request.headers.get("If-None-Match", "")),
            now=clock.utc_now(),
        )
        response = (
            HttpResponseNotModified() if digest.body is None else _answer(request, digest.body)
        )
        response["ETag"] = digest.etag
        answers.let_device_keep(response)
        return response


class RowsView(ShortLived):
    """`GET /api/v1/sync/rows`."""

    @extend_schema(
        operation_id="sync_rows",
        parameters=[
            OpenApiParameter("collection", str, required=True),
            OpenApiParameter("bucket", int, required=True, description="From 0 to 255."),
            OpenApiParameter("after", str, description="The id of the last row before."),
            OpenApiParameter("limit", int, description="At most so many."),
        ],
        responses={200: shapes.RowsShape, (400, _PROBLEM): shapes.ProblemShape},
    )
    def get(self, request: Request) -> HttpResponse:
        """Send the rows of one bucket again, as a pull sends them."""
        query = request.query_params
        rows = digests.read_rows(
            actor_of(request),
            collection=query.get("collection", ""),
            bucket=parse_bucket(query.get("bucket")),
            after=parse_row_id(query.get("after")),
            limit=parse_limit(query.get("limit")),
            now=clock.utc_now(),
        )
        response = _answer(request, version_of(request).up_page(rows))
        answers.let_device_keep(response)
        return response


def _answer(request: Request, body: bytes) -> HttpResponse:
    accepted = request.headers.get("Accept-Encoding", "")
    return answers.pack(body, compression.choose_encoding(accepted))
