"""The ASGI entry, for uvicorn: `uvicorn backend.asgi:application`.

    uvicorn -> pool of WORKER_THREADS threads -> the WSGI application

The pool is bounded: a thread keeps one database connection, so one process never holds more than
WORKER_THREADS of them, and requests beyond that wait their turn. (Django's own ASGI handler starts
a thread for every request, without a bound: more work per request, and "too many clients".)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from a2wsgi import WSGIMiddleware
from django.conf import settings

from backend.wsgi import application as wsgi_application

if TYPE_CHECKING:
    from a2wsgi.wsgi_typing import WSGIApp

application = WSGIMiddleware(cast("WSGIApp", wsgi_application), workers=settings.WORKER_THREADS)
