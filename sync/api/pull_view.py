"""`GET /api/v1/sync/pull`: one page as JSON, or all there is as a stream of lines.

    page    feed.pull -> 304, or JSON, packed in the thread that made it
    stream  feed.pull again and again -> lines, each chunk packed and sent while the next is read

A stream holds no thread and no connection while a slow phone takes its time: each of its chunks
is a page, and every page ends in a cursor to go on from.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import time
from typing import TYPE_CHECKING, Final

from django.http import HttpResponse, HttpResponseNotModified, StreamingHttpResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import APIException
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from sync import clock, feed, threads
from sync.api import answers, compression, serializers as shapes
from sync.api.actor import actor_again, actor_of
from sync.api.parameters import parse_collections, parse_limit
from sync.api.short_lived import ShortLived
from sync.api.versions import version_of
from sync.api.waiting import hold, parse_wait
from sync.conf import sync_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NDJSON: Final = "application/x-ndjson"
ASK_AGAIN_S: Final = 10.0  # a stream looks so often whether its device still may read, and what


class NDJSONRenderer(JSONRenderer):
    """Lets a client ask for lines; the view writes them itself."""

    media_type = NDJSON
    format = "ndjson"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What a pull asks for."""

    cursor: str | None
    limit: int | None
    collections: list[str]
    encoding: str | None
    wait_s: int


class PullView(ShortLived):
    """`GET /api/v1/sync/pull`."""

    renderer_classes = (JSONRenderer, NDJSONRenderer)

    @extend_schema(
        operation_id="sync_pull",
        parameters=[
            OpenApiParameter("cursor", str, description="From the last page; none: first sync."),
            OpenApiParameter("limit", int, description="Changes a page."),
            OpenApiParameter("collections", str, description="Names with commas; none: all."),
            OpenApiParameter("wait", int, description="Seconds to wait for something to say."),
            OpenApiParameter(
                "If-None-Match", str, OpenApiParameter.HEADER, description="The last `ETag`."
            ),
        ],
        responses={
            (200, answers.JSON): shapes.PageShape,
            (200, NDJSON): str,
            304: None,
            (400, "application/problem+json"): shapes.ProblemShape,
            (410, "application/problem+json"): shapes.ProblemShape,
            (426, "application/problem+json"): shapes.ProblemShape,
            (503, "application/problem+json"): shapes.ProblemShape,
        },
    )
    def get(self, request: Request) -> HttpResponse | StreamingHttpResponse:
        """Pull what changed for this device since the cursor."""
        query = request.query_params
        asked = _Asked(
            cursor=query.get("cursor") or None,
            limit=parse_limit(query.get("limit")),
            collections=parse_collections(query.get("collections")),
            encoding=compression.choose_encoding(request.headers.get("Accept-Encoding", "")),
            wait_s=parse_wait(request),
        )
        is_stream = request.accepted_renderer.media_type == NDJSON
        response = _stream(request, asked) if is_stream else _page(request, asked)
        answers.let_device_keep(response)
        return response


def _page(request: Request, asked: _Asked) -> HttpResponse:
    actor = actor_of(request)
    page = feed.pull(
        actor,
        cursor=asked.cursor,
        limit=asked.limit,
        collections=asked.collections,
    )
    if page.is_idle and answers.is_known(page.etag, request.headers.get("If-None-Match", "")):
        response: HttpResponse = HttpResponseNotModified()
        # Read by the server: it follows from who asks and how far the feed goes, and nothing else.
        response.is_repeatable = not asked.wait_s  # type: ignore[attr-defined]
    else:
        body = version_of(request).up_page(page.render(clock.utc_now()))
        response = answers.pack(body, asked.encoding)
    response["ETag"] = page.etag
    if page.is_idle:
        hold(response, actor, head=page.head, wait_s=asked.wait_s)
    return response


def _stream(request: Request, asked: _Asked) -> StreamingHttpResponse:
    """Return the stream; what is wrong with the request is raised before it begins."""
    stream = _Stream(request, asked)
    headers = {"X-Accel-Buffering": "no"}  # nginx would wait for all of it
    if asked.encoding:
        headers["Content-Encoding"] = asked.encoding
    return StreamingHttpResponse(stream.send(stream.read()), content_type=NDJSON, headers=headers)


class _Stream:
    """A pull to the head, chunk by chunk."""

    def __init__(self, request: Request, asked: _Asked) -> None:
        self._request = request
        self._asked = asked
        self._version = version_of(request)
        self._cursor = asked.cursor
        self._limit = sync_settings().pull_page_rows_max if asked.limit is None else asked.limit
        self._packer = compression.make_packer(asked.encoding)
        # Each chunk looks where the head is by then.
        self._actor = dataclasses.replace(actor_of(request), stream=None)
        self._actor_at = time.monotonic()

    async def send(self, page: feed.Page) -> AsyncIterator[bytes]:
        """Yield chunks, that of `page` first; while one is packed and sent, the next is read."""
        following: asyncio.Future[feed.Page | None]
        while page.has_more:
            following = asyncio.ensure_future(threads.run(self._read_on))
            try:
                yield await threads.run(functools.partial(self._pack, page))
                found = await following
            finally:
                following.cancel()
            if found is None:
                yield self._packer.end()
                return
            page = found
        yield await threads.run(lambda: self._pack(page) + self._packer.end())

    def _read_on(self) -> feed.Page | None:
        """Return the next page; None when the device may not go on."""
        return self.read() if self._may_go_on() else None

    def read(self) -> feed.Page:
        """Return the next page."""
        page = feed.pull(
            self._actor,
            cursor=self._cursor,
            limit=self._limit,
            collections=self._asked.collections,
            border="\n",
        )
        self._cursor = page.cursor
        return page

    def _pack(self, page: feed.Page) -> bytes:
        """Return a chunk: the page's changes, and the cursor behind them."""
        lines = page.render_lines(clock.utc_now())
        return self._packer.pack(self._version.up_lines(lines))

    def _may_go_on(self) -> bool:
        """Whether the device still may read, and what it did; asked now and then.

        If not, the stream ends behind a cursor, and the next request is told why.
        """
        if time.monotonic() - self._actor_at < ASK_AGAIN_S:
            return True
        try:
            now = actor_again(self._request)
        except APIException:
            return False
        self._actor_at = time.monotonic()
        return now == self._actor
