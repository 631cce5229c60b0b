"""What waits on the event loop and holds no thread: streams, and holds.

    send_stream  chunk by chunk, as fast as the client takes them
    wait_out     until a hold is over

Both end as soon as the client has gone. When the server is told to stop, a stream has `GRACE_S` to
come to its own end (`sync.threads.on_closing` tells it); one that does not is cut, so that nobody
takes a part for the whole. A hold is over at once.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

from django.http import StreamingHttpResponse

from backend.request_id import HEADER, run_as
from backend.serving.answers import Hold, read_block
from backend.serving.asgi_types import Receive
from backend.serving.workers import WorkerPool
from sync import threads

log = logging.getLogger(__name__)

GRACE_S = 1.0  # of a stream that was told to end: far less than the server waits for open requests
CLEAN_UP_S_MAX = 5.0  # of a stream that was cancelled

SendChunk = Callable[[bytes], Awaitable[None]]


class StreamCut(Exception):
    """A stream had not come to its end when the server had to stop."""


class End(enum.Enum):
    """Why a wait ended."""

    DONE = "done"
    GONE = "gone"  # the client
    CLOSING = "closing"  # the server


async def send_stream(
    response: StreamingHttpResponse, pool: WorkerPool, receive: Receive, send: SendChunk
) -> bool:
    """Send the chunks of `response`, close it; return whether its client was there to the end.

    Raises:
        StreamCut: the server stops.
        Exception: whatever the stream raised.
    """
    # Django's own way to iterate wraps the iterator twice, and closes it some time later.
    chunks: AsyncIterator[Any] = (
        response._iterator if response.is_async else _blocks(response, pool)  # type: ignore[attr-defined]  # noqa: SLF001
    )
    try:
        end = await _until(
            _pump(chunks, response.make_bytes, send),
            receive,
            request_id=response.headers.get(HEADER, "-"),
            grace_s=GRACE_S,
        )
    finally:
        await pool.run(response.close)
    if end is End.CLOSING:
        raise StreamCut
    return end is End.DONE


async def wait_out(hold: Hold, receive: Receive, *, request_id: str) -> End:
    """Wait until `hold` is over; a hold that fails is over too, and the log says why."""
    try:
        return await _until(hold(), receive, request_id=request_id, grace_s=0)
    except Exception:
        log.exception("request %s: its hold failed", request_id)
        return End.DONE


async def _pump(
    chunks: AsyncIterator[Any], make_bytes: Callable[[Any], bytes], send: SendChunk
) -> None:
    try:
        async for part in chunks:
            await send(make_bytes(part))
            await asyncio.sleep(0)  # nothing above has to wait; others want the loop too
    finally:
        aclose = getattr(chunks, "aclose", None)
        if aclose:
            await aclose()


async def _blocks(response: StreamingHttpResponse, pool: WorkerPool) -> AsyncIterator[bytes]:
    """Yield a file, a thread for each block: one that waits for its client would be taken long."""
    while block := await pool.run(partial(read_block, response)):
        yield block


async def _until(
    work: Awaitable[None], receive: Receive, *, request_id: str, grace_s: float
) -> End:
    """Let `work` come to its end, or cancel it; return what was first. Raises what `work` does."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(_await(work), context=run_as(request_id))
    gone = loop.create_task(_await_disconnect(receive))
    closing: asyncio.Future[None] = loop.create_future()
    forget = threads.on_closing(partial(_resolve, closing))
    try:
        await asyncio.wait({task, gone, closing}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done() and not gone.done():
            await asyncio.wait({task, gone}, timeout=grace_s, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
            return End.DONE
        return End.GONE if gone.done() else End.CLOSING
    finally:
        forget()
        closing.cancel()
        gone.cancel()
        await _end(task)


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel `task` unless it is done, and wait until it has cleaned up."""
    if task.done():
        return
    task.cancel()
    await asyncio.wait({task}, timeout=CLEAN_UP_S_MAX)
    if task.done() and not task.cancelled() and task.exception():
        log.error("a stream failed while it was closed", exc_info=task.exception())


async def _await(work: Awaitable[None]) -> None:
    await work


async def _await_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
