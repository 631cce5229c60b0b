"""`GET /api/v1/sync/events`: a device hears at once that there is something to pull.

A view looks who asks, in a thread; from then on the stream belongs to the event loop, and a thread
is taken only for the moments in which it is looked up who the device is by now.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from django.core.handlers.wsgi import WSGIRequest
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import APIException, NotFound
from rest_framework.renderers import BaseRenderer
from rest_framework.views import APIView

from sync import transactions
from sync.api import serializers as shapes
from sync.api.actor import actor_again, actor_of
from sync.errors import Unavailable
from sync.pokes.hub import check_room
from sync.pokes.stream import stream_pokes

if TYPE_CHECKING:
    from rest_framework.request import Request

    from sync.types import Actor

log = logging.getLogger(__name__)

EVENT_STREAM = "text/event-stream"
HEADERS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would keep events until its buffer is full
}


class EventStreamRenderer(BaseRenderer):
    """So that a client may ask for this type; errors render themselves."""

    media_type = EVENT_STREAM
    format = "events"
    charset = "utf-8"

    def render(self, data: Any, media_type: str | None = None, context: Any = None) -> Any:  # noqa: ARG002
        """Return `data`: the stream is rendered where it comes about."""
        return data


class EventsView(APIView):
    """`GET /api/v1/sync/events`."""

    http_method_names = ["get", "options"]  # a HEAD would hold a stream of which nothing is sent
    renderer_classes = (EventStreamRenderer, *APIView.renderer_classes)

    @extend_schema(
        operation_id="sync_events",
        responses={
            (200, EVENT_STREAM): OpenApiTypes.STR,
            (503, "application/problem+json"): shapes.ProblemShape,
        },
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        """Stream an event whenever there is something to pull (server-sent events)."""
        if isinstance(request._request, WSGIRequest):  # it would wait for the end of what has none
            raise NotFound("This server cannot stream; pull now and then.")
        actor = actor_of(request)
        check_room()
        stream = stream_pokes(actor, lambda: look_again(request))
        return StreamingHttpResponse(stream, content_type=EVENT_STREAM, headers=HEADERS)


def look_again(request: Request) -> Actor | None:
    """Return who `request` comes from by now, None if they would not be let in any more.

    Raises:
        Unavailable: the database cannot say so now.
    """
    try:
        return actor_again(request)
    except APIException:
        return None
    except Exception as error:
        if not transactions.is_away(error):
            log.exception("a stream ends: it cannot be said who it belongs to")
            return None
        raise Unavailable from error
