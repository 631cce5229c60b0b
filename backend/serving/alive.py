"""Liveness, answered on the event loop: a server that is only busy is not taken for dead."""

from __future__ import annotations

from typing import Final

from backend.health.middleware import ALIVE, LIVE_PATH
from backend.serving.answers import Answer
from backend.serving.asgi_types import Scope

METHODS: Final = frozenset({"GET", "HEAD"})
_ANSWER: Final = Answer(
    status=200,
    headers=[
        (b"content-type", b"text/plain"),
        (b"content-length", str(len(ALIVE)).encode()),
        (b"cache-control", b"no-store"),
    ],
    body=ALIVE,
)


def find_alive(scope: Scope) -> Answer | None:
    """Return the answer to a request for `/livez`; None to any other."""
    is_asked = scope["path"] == LIVE_PATH and scope["method"] in METHODS
    return _ANSWER if is_asked else None
