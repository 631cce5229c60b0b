"""The server's start and end, as the event loop sees them.

    startup   threads for `sync.threads`, an ear for the signals that stop the server
    SIGTERM   `sync.threads.close`: streams and holds end, before open requests are waited for
    shutdown  threads and connections end

uvicorn says `lifespan.shutdown` only when all connections are done, and an open stream never
is; so the signal itself is heard, and handed on to whoever heard it before.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

from backend.serving.asgi_types import Receive, Send
from backend.serving.repeats import Repeats
from backend.serving.workers import WorkerPool
from sync import threads

STOPPING = (signal.SIGINT, signal.SIGTERM)
THREADS_END_S = 1.0  # those that are still at work have had all the time that a server gives


async def live(pool: WorkerPool, repeats: Repeats, receive: Receive, send: Send) -> None:
    """Be the application of a lifespan scope, from the server's start to its end."""
    await receive()
    threads.set_executor(pool)
    go_deaf = _hear_signals(asyncio.get_running_loop())
    await send({"type": "lifespan.startup.complete"})
    try:
        await receive()
        threads.close()  # when no signal said so
        pool.close(wait_s=THREADS_END_S)
        await repeats.close()
    finally:
        go_deaf()
        threads.set_executor(None)
    await send({"type": "lifespan.shutdown.complete"})


def _hear_signals(loop: asyncio.AbstractEventLoop) -> Callable[[], None]:
    """Close `sync.threads` at the signals that stop a server; return what undoes this.

    Handlers can be set in the main thread only, where servers run.
    """
    if threading.current_thread() is not threading.main_thread():
        return _nothing
    before: dict[int, Any] = {signum: signal.getsignal(signum) for signum in STOPPING}

    def on_signal(signum: int, frame: FrameType | None) -> None:
        with suppress(RuntimeError):  # the loop is closed already
            loop.call_soon_threadsafe(threads.close)
        before[signum](signum, frame)

    def go_deaf() -> None:
        for signum in heard:
            if signal.getsignal(signum) is on_signal:
                signal.signal(signum, before[signum])

    heard = [signum for signum in STOPPING if callable(before[signum])]  # not SIG_DFL, SIG_IGN
    for signum in heard:
        signal.signal(signum, on_signal)
    return go_deaf


def _nothing() -> None:
    """Undo nothing."""
