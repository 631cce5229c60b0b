"""The ASGI entry, for uvicorn: `uvicorn backend.asgi:application`.

    uvicorn -> bridge -> at most WORKER_THREADS threads -> Django's handler and middleware

The threads are bounded: each keeps one database connection, so one process never holds more than
WORKER_THREADS of them. Requests beyond that wait their turn, QUEUE_MAX of them; more are answered
503 at once. (Django's own ASGI handler starts a thread for every request, without a bound, and
passes each through several.)
"""

from __future__ import annotations

import gc

import backend.serving.setup  # noqa: F401  # before those below

# isort: split
from django.conf import settings

from backend.serving.answers import Handler
from backend.serving.asgi_types import Receive, Scope, Send
from backend.serving.bodies import BodyReader
from backend.serving.bridge import Bridge
from backend.serving.lifespan import live
from backend.serving.lookup import Lookup
from backend.serving.repeats import Repeats
from backend.serving.workers import WorkerPool
from sync.conf import sync_settings

limits = sync_settings()
pool = WorkerPool(threads_max=settings.WORKER_THREADS)
repeats = Repeats(Lookup())
bridge = Bridge(
    Handler(),
    pool,
    BodyReader(
        bytes_max=max(settings.DATA_UPLOAD_MAX_MEMORY_SIZE, limits.body_bytes_max),
        compressed_bytes_max=limits.compressed_body_bytes_max,
    ),
    repeats,
    queue_max=settings.QUEUE_MAX,
)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one connection, as ASGI has it."""
    match scope["type"]:
        case "http":
            await bridge(scope, receive, send)
        case "lifespan":
            await live(pool, repeats, receive, send)
        case "websocket":
            await send({"type": "websocket.close"})  # before it was accepted: a plain 403
        case other:
            message = f"{other} is not served"
            raise ValueError(message)


# A push makes some ten thousand objects, and nearly all die when their last reference does. At the
# usual threshold the collector runs dozens of times in one push, each time over all of Django.
GC_THRESHOLD = 50_000  # objects made and not yet gone, before the youngest are looked through
gc.collect()
gc.freeze()
gc.set_threshold(GC_THRESHOLD)
