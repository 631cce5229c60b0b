"""Drivers: steps, carried out with real sockets and clocks. The only place that waits.

drive(steps, outside)                blocks the thread
await drive_async(steps, outside)    leaves the event loop free; the store works in threads
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from fieldsync.errors import TransportFailure
from fieldsync.machine import Event
from fieldsync.steps import Effect, Open, Read, Rest, Send, Steps, Wait

if TYPE_CHECKING:
    from fieldsync.bell import Bell
    from fieldsync.transport import AsyncTransport, Transport

T = TypeVar("T")
_ENDED = object()


class Outside(msgspec.Struct, frozen=True, kw_only=True):
    """The world of a blocking client. `sleep` replaces the wait after a failure, for tests."""

    transport: Transport
    bell: Bell
    sleep: Callable[[float], None] | None = None

    def carry_out(self, effect: Effect) -> Any:
        """Return the reply to `effect`. Raises: TransportFailure."""
        match effect:
            case Send(request, access):
                return self.transport.send(request, access=access)
            case Open(request, access, quiet_s):
                return self.transport.open(request, access=access, quiet_s=quiet_s)
            case Read(stream):
                return stream.read()
            case Wait(seconds) if self.sleep is not None:
                return self.sleep(seconds)
            case Wait(seconds):
                return self.bell.wait(seconds, for_event=Event.STOP)
            case Rest(seconds):
                began = time.monotonic()
                self.bell.wait(seconds)
                return time.monotonic() - began


class AsyncOutside(msgspec.Struct, frozen=True, kw_only=True):
    """The world of a client on an event loop."""

    transport: AsyncTransport
    bell: Bell
    sleep: Callable[[float], Awaitable[None]] | None = None

    async def carry_out(self, effect: Effect) -> Any:
        """Return the reply to `effect`. Raises: TransportFailure."""
        match effect:
            case Send(request, access):
                return await self.transport.send(request, access=access)
            case Open(request, access, quiet_s):
                return await self.transport.open(request, access=access, quiet_s=quiet_s)
            case Read(stream):
                return await stream.read()  # type: ignore[misc]  # the async transport's own
            case Wait(seconds) if self.sleep is not None:
                return await self.sleep(seconds)
            case Wait(seconds):
                return await self._rest(seconds, lambda: self.bell.has(Event.STOP))
            case Rest(seconds):
                began = time.monotonic()
                await self._rest(seconds, self.bell.is_rung)
                return time.monotonic() - began

    async def _rest(self, seconds: float, is_over: Callable[[], bool]) -> None:
        import asyncio  # here and below: a client that blocks does without, and starts sooner

        loop = asyncio.get_running_loop()
        rung = asyncio.Event()

        def hear() -> None:
            if is_over():
                with suppress(RuntimeError):  # the loop is closed: nobody rests there any more
                    loop.call_soon_threadsafe(rung.set)

        end = self.bell.tell(hear)
        try:
            if not is_over():
                with suppress(TimeoutError):
                    await asyncio.wait_for(rung.wait(), seconds)
        finally:
            end()


class _Walk(msgspec.Struct):
    """Steps under way; they see failures of the link as their own."""

    steps: Steps[Any]
    result: Any = None
    stream: Any = None  # that was opened last, until somebody takes it to close it
    _reply: Any = msgspec.field(default=None)
    _failure: TransportFailure | None = msgspec.field(default=None)

    def next(self) -> Any:
        """Return the next effect; `_ENDED` when there is none."""
        reply, self._reply = self._reply, None
        failure, self._failure = self._failure, None
        try:
            return self.steps.throw(failure) if failure else self.steps.send(reply)
        except StopIteration as end:
            self.result = end.value
            return _ENDED

    def take(self, effect: Effect, reply: Any) -> None:
        self._reply = reply
        if isinstance(effect, Open):
            self.stream = reply.stream

    def take_stream(self) -> Any:
        """The stream to close, if there is one."""
        stream, self.stream = self.stream, None
        return stream

    def fail(self, failure: TransportFailure) -> None:
        self._failure = failure


def drive(steps: Steps[T], outside: Outside) -> T:
    """Carry `steps` out; return what comes of them, and raise what they raise."""
    walk = _Walk(steps)
    try:
        while (effect := walk.next()) is not _ENDED:
            if not isinstance(effect, Read):
                _close(walk)
            try:
                walk.take(effect, outside.carry_out(effect))
            except TransportFailure as failure:
                walk.fail(failure)
        result: T = walk.result
        return result
    finally:
        steps.close()
        _close(walk)


def _close(walk: _Walk) -> None:
    if (stream := walk.take_stream()) is not None:
        stream.close()


async def drive_async(steps: Steps[T], outside: AsyncOutside) -> T:
    """Carry `steps` out; return what comes of them, and raise what they raise."""
    walk = _Walk(steps)
    try:
        while (effect := await _in_thread(walk.next)) is not _ENDED:
            if not isinstance(effect, Read):
                await _close_async(walk)
            try:
                walk.take(effect, await outside.carry_out(effect))
            except TransportFailure as failure:
                walk.fail(failure)
        result: T = walk.result
        return result
    finally:
        steps.close()
        await _close_async(walk)


async def _close_async(walk: _Walk) -> None:
    if (stream := walk.take_stream()) is not None:
        await stream.close()


async def _in_thread(work: Callable[[], T]) -> T:
    """Do `work`, which uses the store and may take a while, to its end even when cancelled."""
    import asyncio

    working = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait([working])
        raise
