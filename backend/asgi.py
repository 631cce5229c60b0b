"""The ASGI entry, for uvicorn: `uvicorn backend.asgi:application`.

    uvicorn -> body, bounded -> pool of WORKER_THREADS threads -> the WSGI application

The pool is bounded: a thread keeps one database connection, so one process never holds more than
WORKER_THREADS of them, and requests beyond that wait their turn. (Django's own ASGI handler starts
a thread for every request, without a bound: more work per request, and "too many clients".)
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, cast

from a2wsgi import WSGIMiddleware

from backend.wsgi import application as wsgi_application  # sets Django up for those below

# isort: split
from django.conf import settings

from backend.body_buffer import BodyBuffer
from sync.conf import sync_settings

if TYPE_CHECKING:
    from a2wsgi.wsgi_typing import WSGIApp

pool = WSGIMiddleware(cast("WSGIApp", wsgi_application), workers=settings.WORKER_THREADS)
limits = sync_settings()
application = BodyBuffer(
    pool,
    bytes_max=max(settings.DATA_UPLOAD_MAX_MEMORY_SIZE, limits.body_bytes_max),
    compressed_bytes_max=limits.compressed_body_bytes_max,
)

# A push makes some ten thousand objects, and nearly all die when their last reference does. At the
# usual threshold the collector runs dozens of times in one push, each time over all of Django.
GC_THRESHOLD = 50_000  # objects made and not yet gone, before the youngest are looked through
gc.collect()
gc.freeze()
gc.set_threshold(GC_THRESHOLD)
