"""Answers that no view has made: the request came no further than to the server itself.

The same documents as everywhere, under the request's id, which is in the log too.
"""

from __future__ import annotations

import logging
import random

from backend.request_id import HEADER, choose_request_id
from backend.serving.answers import Answer, encode_headers
from backend.serving.asgi_types import Scope
from sync.api.exception_handler import INTERNAL, Problem, framework_problem, problem
from sync.errors import LimitExceeded, Unavailable

log = logging.getLogger(__name__)

BUSY_RETRY_S = (1, 5)  # phones that were turned away together must not come back together
_jitter = random.Random()  # noqa: S311  # spreads retries; guards nothing


def request_id_of(scope: Scope) -> str:
    """Return the id that the client gave the request if it is sane, else a new one."""
    given = dict(scope["headers"]).get(HEADER.lower().encode(), b"")
    return choose_request_id(given.decode("latin-1"))


def too_large(scope: Scope, error: LimitExceeded) -> Answer:
    """Return the answer to a request whose body is beyond `error`'s limit."""
    request_id = request_id_of(scope)
    log.warning("request %s refused: %s", request_id, error)
    found = Problem(
        status=error.status,
        code=error.code,
        title=error.title,
        detail=str(error),
        members=error.members,
    )
    # The rest of the body is not worth reading.
    return _render(found, request_id, {"Connection": "close"})


def busy(scope: Scope) -> Answer:
    """Return the answer to a request for which there is no place in the queue."""
    request_id = request_id_of(scope)
    log.warning("request %s refused: the queue is full", request_id)
    return _render(_unavailable(), request_id)


def stopped(scope: Scope) -> Answer:
    """Return the answer to a request that the server has no time left to hear the end of."""
    request_id = request_id_of(scope)
    log.warning("request %s was not awaited: the server stops", request_id)
    return _render(_unavailable(), request_id, {"Connection": "close"})


def failed(scope: Scope, error: Exception) -> Answer:
    """Return the answer to a request that met a fault of the server's own."""
    request_id = request_id_of(scope)
    log.error("request %s failed", request_id, exc_info=error)
    return _render(framework_problem(INTERNAL), request_id)


def malformed(scope: Scope) -> Answer:
    """Return the answer to a request that cannot be understood at all."""
    return _render(framework_problem("request_malformed"), request_id_of(scope))


def _unavailable() -> Problem:
    error = Unavailable()
    return Problem(
        status=error.status,
        code=error.code,
        title=error.title,
        detail=str(error),
        retry_after_s=_jitter.randint(*BUSY_RETRY_S),
    )


def _render(found: Problem, request_id: str, headers: dict[str, str] | None = None) -> Answer:
    response = problem(
        status=found.status,
        code=found.code,
        title=found.title,
        detail=found.detail,
        members=found.members,
        retry_after_s=found.retry_after_s,
        request_id=request_id,
    )
    body = response.rendered_content
    more = {HEADER: request_id, "Content-Length": str(len(body)), **(headers or {})}
    for name, value in more.items():
        response[name] = value
    return Answer(status=found.status, headers=encode_headers(response), body=body)
