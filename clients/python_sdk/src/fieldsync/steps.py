"""Steps: what the engine wants done outside of itself, one thing after the other. Sans-IO.

    steps = engine.sync(...)            a generator; nothing has happened yet
    effect = steps.send(None)           Send | Open | Read | Wait | Rest
    effect = steps.send(reply)          ... or steps.throw(TransportFailure(...))
    StopIteration                       done; its value is what came of it

Whoever drives them decides how: `drivers` with sockets and clocks, blocking or on an event loop; a
test as it likes, one effect at a time. Between two effects the store is consistent: steps may be
left off anywhere, and never be taken up again.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

if TYPE_CHECKING:
    from fieldsync.transport import Answer, AsyncStream, Request, Stream

T = TypeVar("T")


class Send(msgspec.Struct, frozen=True):
    """Send `request`; the reply is its complete `Answer`. Fails with a `TransportFailure`."""

    request: Request
    access: str | None = None


class Open(msgspec.Struct, frozen=True):
    """Send `request`; the reply is its `Answer`, with a `stream` to read if it is a 200.

    A stream that says nothing for `quiet_s` has failed; without it, for as long as any answer.
    The stream is there until the next effect that is no `Read`, or the end of the steps.
    """

    request: Request
    access: str | None
    quiet_s: float | None = None


class Read(msgspec.Struct, frozen=True):
    """Read on; the reply is the next piece, nothing at the end."""

    stream: Stream | AsyncStream


class Wait(msgspec.Struct, frozen=True):
    """Let `seconds` pass, whatever happens meanwhile but a stop."""

    seconds: float


class Rest(msgspec.Struct, frozen=True):
    """Let `seconds` pass, or less: until the bell rings. The reply says how long it was."""

    seconds: float


Effect = Send | Open | Read | Wait | Rest
Steps = Generator[Effect, Any, T]


def send(request: Request, access: str | None = None) -> Steps[Answer]:
    """Return the answer to `request`."""
    answer: Answer = yield Send(request, access)
    return answer


def open_stream(request: Request, access: str | None = None) -> Steps[Answer]:
    """Return the answer to `request`, a stream if it is a 200."""
    answer: Answer = yield Open(request, access)
    return answer


def read(stream: Stream | AsyncStream) -> Steps[bytes]:
    """Return the next piece of `stream`."""
    piece: bytes = yield Read(stream)
    return piece


def read_all(stream: Stream | AsyncStream) -> Steps[bytes]:
    """Return all of `stream`."""
    pieces = []
    while piece := (yield from read(stream)):
        pieces.append(piece)
    return b"".join(pieces)
