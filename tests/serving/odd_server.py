"""The server of these tests: ours, with pages that do what few do, under /api/odd/.

`uvicorn tests.serving.odd_server:application` with ODD_FOLDER, where it notes what has happened.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from backend.asgi import application

# isort: split
from django.db import connection
from django.http import (
    FileResponse,
    HttpRequest,
    HttpResponse,
    JsonResponse,
    StreamingHttpResponse,
)
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from backend import urls
from sync import threads

__all__ = ["application"]
FOLDER = Path(os.environ["ODD_FOLDER"])
PIECE = b"0123456789abcdef" * 1024
ROWS = 3_000


def note(event: str) -> None:
    """Let the test know."""
    (FOLDER / event).touch()


def ask(sql: str, *parameters: int) -> Any:
    """Return the one value of a statement."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchone()[0]


@csrf_exempt
def mirror(request: HttpRequest, rest: str = "") -> HttpResponse:
    """Say what has arrived."""
    file = request.FILES.get("file")
    response = JsonResponse(
        {
            "method": request.method,
            "path": request.path,
            "query": request.GET.dict(),
            "scheme": request.scheme,
            "host": request.get_host(),
            "client": request.META["REMOTE_ADDR"],
            "cookies": request.COOKIES,
            "length": request.META.get("CONTENT_LENGTH"),
            "sha256": hashlib.sha256(b"" if file else request.body).hexdigest(),
            "file": hashlib.sha256(file.read()).hexdigest() if file else None,
        }
    )
    response.set_cookie("one", "1")
    response.set_cookie("two", "2")
    response["X-Accent"] = "é"
    return response


def wait(request: HttpRequest, number: int) -> HttpResponse:
    """Stand, with a thread and a connection, until nobody has the lock `number`."""
    ask("SELECT pg_advisory_lock_shared(%s)::text", number)
    ask("SELECT pg_advisory_unlock_shared(%s)::text", number)
    return HttpResponse(b"waited")


def hold(request: HttpRequest, number: int) -> HttpResponse:
    """Answer after something has happened, with what is true then."""
    is_held = getattr(request, "held", False)
    response = JsonResponse({"held": is_held, "news": (FOLDER / "news").exists()})
    response.hold = partial(_until_news, number)  # type: ignore[attr-defined]
    return response


async def _until_news(number: int) -> None:
    note(f"holding-{number}")
    try:
        while not (FOLDER / "news").exists():
            await asyncio.sleep(0.01)
        if (FOLDER / "fail").exists():
            raise ConnectionError("no news")
    except asyncio.CancelledError:
        note("hold-cancelled")
        raise


def stream(request: HttpRequest, manners: str) -> StreamingHttpResponse:
    """Stream until the client goes or the server closes: in the way that `manners` says."""
    return StreamingHttpResponse(STREAMS[manners](), content_type="text/plain")


async def _polite() -> AsyncIterator[bytes]:
    closing = asyncio.Event()
    take_back = threads.on_closing(closing.set)
    try:
        while not closing.is_set():
            yield f"{await threads.run(lambda: ask('SELECT 7'))}\n".encode()
            await asyncio.sleep(0.01)
        yield b"the end\n"
    finally:
        take_back()
        note("polite-closed")


async def _deaf() -> AsyncIterator[bytes]:
    try:
        while True:
            yield b"7\n"
            await asyncio.sleep(0.01)
    finally:
        note("deaf-closed")


async def _fast() -> AsyncIterator[bytes]:
    number = 0
    try:
        while True:
            yield PIECE
            number += 1
            (FOLDER / "pieces").write_text(str(number))
    finally:
        note("fast-closed")


async def _broken() -> AsyncIterator[bytes]:
    yield b"7\n"
    raise RuntimeError("a secret of the server")


async def _short() -> AsyncIterator[bytes]:
    yield b"7\n"
    yield b""
    yield b"8\n"


STREAMS: dict[str, Callable[[], AsyncIterator[bytes]]] = {
    "polite": _polite, "deaf": _deaf, "fast": _fast, "broken": _broken, "short": _short,
}  # fmt: skip


def rows(request: HttpRequest, fails_at: int) -> StreamingHttpResponse:
    """Stream from a cursor of the database, as an export does."""
    return StreamingHttpResponse(_rows(fails_at), content_type="text/plain")


def _rows(fails_at: int) -> Iterator[bytes]:
    with connection.chunked_cursor() as cursor:
        cursor.execute("SELECT generate_series(1, %s)", [ROWS])
        for (number,) in cursor:
            if number == fails_at:
                raise RuntimeError("a secret of the server")
            yield f"{number}\n".encode() * 10


def file(request: HttpRequest, pieces: int) -> FileResponse:
    """Send a file."""
    source = FOLDER / f"file-{pieces}"
    source.write_bytes(PIECE * pieces)
    return FileResponse(source.open("rb"))


def crash(request: HttpRequest) -> HttpResponse:
    """Give the server an answer that it cannot send."""
    response = HttpResponse(b"x")
    response.set_cookie("a", path="/é")
    return response


urls.urlpatterns[:0] = [
    path("api/odd/mirror", mirror),
    path("api/odd/mirror/<path:rest>", mirror),
    path("api/odd/wait/<int:number>", wait),
    path("api/odd/hold/<int:number>", hold),
    path("api/odd/stream/<str:manners>", stream),
    path("api/odd/rows/<int:fails_at>", rows),
    path("api/odd/file/<int:pieces>", file),
    path("api/odd/crash", crash),
]
