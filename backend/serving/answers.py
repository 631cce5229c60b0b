"""One request through all of Django, in a worker thread: from its scope and body to its answer.

    scope, body -> request_started -> middleware, view -> Answer -> request_finished

An answer that is plain has its whole body; Django is done with it before it is sent. A stream
of a synchronous iterator is iterated where the view ran, since its database connection is there;
files and asynchronous ones are given back to be sent from the event loop.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, cast

from django.core import signals
from django.core.handlers.asgi import ASGIRequest, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

from backend.grounds import Grounds
from backend.serving.asgi_types import Scope
from backend.serving.bodies import Body

FILE_BLOCK_BYTES = 256 * 1024  # read at once; a thread is taken for each
NO_BODY = frozenset({204, 304})

Header = tuple[bytes, bytes]
Hold = Callable[[], Awaitable[None]]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What to send: a head, and a body or a stream that still has to be read."""

    status: int
    headers: list[Header]
    body: bytes = b""
    stream: StreamingHttpResponse | None = None
    hold: Hold | None = None  # to be awaited first; then the request is to be made again
    grounds: Grounds | None = None  # while these hold, the same request has the same answer


# The answer's head, each chunk, and None at its end; returns when that has been sent.
Emit = Callable[[Answer | bytes | None], None]


class Request(ASGIRequest):
    """A request whose body belongs to the server, which may have the request made again."""

    held: bool  # it has waited by a `hold`: this answer is sent, whatever it is
    grounds: Grounds | None  # what is known of who asks; authentication says

    def __init__(self, scope: Scope, body: Body, *, is_held: bool) -> None:
        super().__init__(scope, body.file)
        self.held = is_held
        self.grounds = None
        self.META.pop("HTTP_TRANSFER_ENCODING", None)
        if body.length or "CONTENT_LENGTH" in self.META:
            self.META["CONTENT_LENGTH"] = str(body.length)  # as counted, whatever it was to be

    def close(self) -> None:
        """Let go of uploaded files; the body stays."""
        HttpRequest.close(self)


class Handler(BaseHandler):
    """Django's synchronous handler, with its whole chain of middleware."""

    def __init__(self) -> None:
        super().__init__()
        self.load_middleware()

    def carry_out(self, scope: Scope, body: Body, emit: Emit, *, is_held: bool) -> Answer | None:
        """Return the answer to a request; None when it has been sent through `emit`.

        Raises:
            UnicodeDecodeError: the query string is not UTF-8.
        """
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=self.__class__, scope=scope)
        request = Request(scope, body, is_held=is_held)
        response = self.get_response(request)
        response._handler_class = self.__class__  # type: ignore[attr-defined]  # noqa: SLF001  # as Django's own handlers
        if isinstance(response, StreamingHttpResponse):
            return _answer_stream(scope, response, emit)
        plain = cast("HttpResponse", response)
        hold: Hold | None = None if is_held else getattr(plain, "hold", None)
        content = plain.content
        if "Content-Length" not in plain.headers and plain.status_code not in NO_BODY:
            plain.headers["Content-Length"] = str(len(content))
        answer = Answer(
            status=plain.status_code,
            headers=encode_headers(plain),
            body=content,
            hold=hold,
            grounds=request.grounds if getattr(plain, "is_repeatable", False) else None,
        )
        plain.close()  # Django is done, and its thread free for the next
        return answer


def encode_headers(response: HttpResponseBase) -> list[Header]:
    """Return the headers and the cookies of `response` as ASGI has them."""
    headers = [
        (name.lower().encode("ascii"), value.encode("latin-1")) for name, value in response.items()
    ]
    for cookie in response.cookies.values():
        headers.append((b"set-cookie", cookie.output(header="").strip().encode("ascii")))
    return headers


def _answer_stream(scope: Scope, response: StreamingHttpResponse, emit: Emit) -> Answer | None:
    answer = Answer(status=response.status_code, headers=encode_headers(response), stream=response)
    if scope["method"] == "HEAD":  # nobody will read it, and it may have no end
        response.close()
        return dataclasses.replace(answer, stream=None)
    if response.is_async:
        return answer
    if isinstance(response, FileResponse):
        return _answer_file(response, answer)
    try:
        emit(answer)
        for chunk in cast("Iterator[bytes]", response):
            emit(chunk)
        emit(None)
    finally:
        response.close()
    return None


def _answer_file(response: FileResponse, answer: Answer) -> Answer:
    """Return a small file as a plain answer, a larger one as a stream."""
    response.block_size = FILE_BLOCK_BYTES
    if int(response.headers.get("Content-Length", FILE_BLOCK_BYTES)) >= FILE_BLOCK_BYTES:
        return answer
    body = b"".join(cast("Iterator[bytes]", response))
    response.close()
    return dataclasses.replace(answer, body=body, stream=None)


def read_block(response: StreamingHttpResponse) -> bytes:
    """Return the next block of a file, nothing at its end."""
    blocks: Any = response.streaming_content
    return bytes(next(blocks, b""))
