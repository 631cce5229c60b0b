"""Listen: server-sent events, to which the bell rings. A poke that is lost costs only time.

connect -> read -> poke -> ring
   ^         `- ended, cut or silent -> wait, as the server said or longer each time
   `-------------------------------------'
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fieldsync.errors import AuthRequired, FieldsyncError, TransportFailure
from fieldsync.machine import Event
from fieldsync.steps import Open, Wait, read
from fieldsync.transport import Request
from fieldsync.verdict import NOT_FOUND, check_answer

if TYPE_CHECKING:
    from fieldsync.bell import Bell
    from fieldsync.engine.session import Session
    from fieldsync.engine.settings import Settings
    from fieldsync.steps import Steps
    from fieldsync.transport import Answer, AsyncStream, Stream

QUIET_S = 60.0  # the server pings every 20 s: after a minute the line is dead
RETRY_S = 5.0  # until the server says otherwise
RETRY_S_MAX = 300.0
EVENTS = Request(method="GET", path="sync/events", headers={"Accept": "text/event-stream"})


class Listener:
    """One ear for the server's pokes."""

    def __init__(self, session: Session, bell: Bell, settings: Settings) -> None:
        self._session = session
        self._bell = bell
        self._rng = settings.rng
        self._retry_s = RETRY_S
        self._failures = 0

    def listen(self) -> Steps[None]:
        """Listen until the bell says stop, or the server says that it has no events."""
        while not self._bell.has(Event.STOP):
            try:
                if (yield from self._connect()) is False:
                    return
            except FieldsyncError as error:
                self._failures += 1
                if isinstance(error, AuthRequired):  # a poll refreshes the token, or says more
                    self._bell.ring(Event.POKED)
            yield Wait(self._wait_s())

    def _connect(self) -> Steps[bool]:
        """Listen to one stream to its end; False when there are none. Raises: FieldsyncError."""
        answer: Answer = yield Open(EVENTS, self._session.access(), QUIET_S)
        if answer.status == NOT_FOUND:
            return False
        stream = check_answer(answer).stream
        if stream is None or answer.kind != "text/event-stream":
            raise TransportFailure(f"no events, but {answer.kind}")
        yield from self._hear(stream)
        return True

    def _hear(self, stream: Stream | AsyncStream) -> Steps[None]:
        parser = EventParser()
        while (piece := (yield from read(stream))) and not self._bell.has(Event.STOP):
            for name, data in parser.feed(piece):
                if name == "poke":
                    self._failures = 0
                    self._bell.ring(Event.POKED)
                elif name == "retry" and data.isdecimal():
                    self._retry_s = min(int(data) / 1_000, RETRY_S_MAX)

    def _wait_s(self) -> float:
        ceiling_s = min(self._retry_s * 2.0 ** min(self._failures, 10), RETRY_S_MAX)
        return self._rng.uniform(self._retry_s / 2, ceiling_s)


class EventParser:
    """Server-sent events, as far as they are needed. Source: the HTML standard, section 9.2.6."""

    def __init__(self) -> None:
        self._rest = b""
        self._event = ""

    def feed(self, piece: bytes) -> list[tuple[str, str]]:
        """The events that `piece` completes, as (name, ""), and ("retry", milliseconds)."""
        *lines, self._rest = (self._rest + piece).replace(b"\r\n", b"\n").split(b"\n")
        found: list[tuple[str, str]] = []
        for line in lines:
            field, _, value = line.decode(errors="replace").partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                self._event = value
            elif field == "retry":
                found.append(("retry", value))
            elif not line and self._event:
                found.append((self._event, ""))
                self._event = ""
        return found
