"""From ASGI to Django: the event loop talks to clients, worker threads carry requests out.

    asked before, and nothing new since?  yes -> the same answer again; no thread, no Django
    receive -> body, whole and bounded -> a place in the queue -> thread: all of Django -> answer
                                                                                 |
    send <-- head and body <----------------------------------- plain ----------<|
         <-- chunk by chunk, no thread held <------------------ stream ---------<|
    wait until something happened, then the request again <---- hold -----------'

A request takes one thread, once; whatever waits for a client or for news waits here. Answers to
clients that have gone are dropped; work that has begun is not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from backend.metrics.instruments import (
    QUEUE,
    REFUSED,
    REPEATED,
    STREAMS,
    THREADS,
    THREADS_MAX,
)
from backend.request_id import HEADER
from backend.serving import problems
from backend.serving.alive import find_alive
from backend.serving.answers import Answer, Handler, Hold
from backend.serving.asgi_types import Receive, Scope, Send
from backend.serving.bodies import Body, BodyReader
from backend.serving.repeats import Repeats
from backend.serving.streams import End, send_stream, wait_out
from backend.serving.workers import WorkerPool
from sync.errors import LimitExceeded

log = logging.getLogger(__name__)


class QueueFull(Exception):
    """As many requests wait for a thread as may."""


class Bridge:
    """The ASGI application: everything but the lifespan's start and end."""

    def __init__(
        self,
        handler: Handler,
        pool: WorkerPool,
        reader: BodyReader,
        repeats: Repeats,
        *,
        queue_max: int,
    ) -> None:
        self.handler = handler
        self.pool = pool
        self.reader = reader
        self.repeats = repeats
        self.inside_max = pool.threads_max + queue_max
        THREADS_MAX.set(pool.threads_max)
        self._inside = 0  # requests that a thread has, or that wait for one

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take a place in the queue, and in the thread after it, for the block.

        Raises:
            QueueFull: there is none.
        """
        self.check_place()
        self._note(1)
        try:
            yield
        finally:
            self._note(-1)

    def _note(self, more: int) -> None:
        self._inside += more
        busy = min(self._inside, self.pool.threads_max)
        THREADS.set(busy)
        QUEUE.set(self._inside - busy)

    def check_place(self) -> None:
        """Raise `QueueFull` when there is no place.

        Requests alone count. What a stream asks the database, and a request that was held, waits
        without a limit here: its connection was let in before, and to refuse it now helps nobody.
        """
        if self._inside >= self.inside_max:
            raise QueueFull

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        exchange = _Exchange(scope, receive, send, self)
        try:
            await exchange.carry_out()
        except LimitExceeded as error:
            await exchange.answer(problems.too_large(scope, error))
        except QueueFull:
            REFUSED.inc()
            await exchange.answer(problems.busy(scope))
        except UnicodeDecodeError:
            await exchange.answer(problems.malformed(scope))
        except asyncio.CancelledError:
            if exchange.has_begun:
                raise
            await exchange.answer(problems.stopped(scope))
        except Exception as error:
            if exchange.has_begun:  # too late to say anything: the server cuts the line
                raise
            await exchange.answer(problems.failed(scope, error))


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, bridge: Bridge) -> None:
        self.scope = scope
        self.receive = receive
        self.send_message = send
        self.bridge = bridge
        self.has_begun = False

    async def carry_out(self) -> None:
        """Read the request, have it carried out, answer it.

        Raises:
            LimitExceeded, QueueFull, UnicodeDecodeError: it was not carried out.
        """
        alive = find_alive(self.scope)
        again = alive or await self.bridge.repeats.find(self.scope)
        if again is not None:
            if alive is None:
                REPEATED.inc()
            await self.answer(again)
            return
        self.bridge.check_place()  # before its body costs anything
        body = await self.bridge.reader.read(self.scope, self.receive)
        if body is None:  # the client is gone: nobody to answer
            return
        try:
            with self.bridge.place():
                answer = await self._ask_django(body, is_held=False)
            if answer and answer.grounds:
                self.bridge.repeats.keep(self.scope, answer)
            if answer and answer.hold:
                answer = await self._hold(answer, answer.hold, body)
            if answer:
                await self.answer(answer)
        finally:
            body.file.close()

    async def _hold(self, answer: Answer, hold: Hold, body: Body) -> Answer | None:
        """Return the answer after the wait; None when the client did not wait so long."""
        request_id = dict(answer.headers).get(HEADER.lower().encode(), b"-").decode()
        with STREAMS.track_inprogress():
            end = await wait_out(hold, self.receive, request_id=request_id)
        match end:
            case End.DONE:
                body.file.seek(0)
                return await self._ask_django(body, is_held=True)
            case End.GONE:
                return None
            case End.CLOSING:  # what was true before the wait is an answer
                return answer

    async def _ask_django(self, body: Body, *, is_held: bool) -> Answer | None:
        emit = partial(_emit, asyncio.get_running_loop(), self._pass_on)
        work = partial(self.bridge.handler.carry_out, self.scope, body, emit, is_held=is_held)
        return await self.bridge.pool.run(work)

    async def answer(self, answer: Answer) -> None:
        """Send an answer to its end, or to that of its client."""
        await self._begin(answer)
        if answer.stream is None:
            await self._send_chunk(answer.body, is_last=True)
        else:
            with STREAMS.track_inprogress():
                is_whole = await send_stream(
                    answer.stream, self.bridge.pool, self.receive, self._send_chunk
                )
            if is_whole:
                await self._send_chunk(b"", is_last=True)

    async def _begin(self, answer: Answer) -> None:
        self.has_begun = True
        await self.send_message(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": answer.headers,
            }
        )

    async def _send_chunk(self, chunk: bytes, *, is_last: bool = False) -> None:
        await self.send_message(
            {"type": "http.response.body", "body": chunk, "more_body": not is_last}
        )

    async def _pass_on(self, part: Answer | bytes | None) -> None:
        """Send what a thread emits."""
        if isinstance(part, Answer):
            await self._begin(part)
        else:
            await self._send_chunk(part or b"", is_last=part is None)


def _emit(
    loop: asyncio.AbstractEventLoop,
    pass_on: Callable[[Answer | bytes | None], Coroutine[Any, Any, None]],
    part: Answer | bytes | None,
) -> None:
    """Have `part` sent, and wait until it was; in a worker thread."""
    asyncio.run_coroutine_threadsafe(pass_on(part), loop).result()
