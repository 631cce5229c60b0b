"""One request of a device and its answer, carried over a link with one fault or none.

    device ── request ──> upstream        run            both as they are
           <── answer ──                  run_…          one of them suffers

It holds no more than `PIECE_BYTES` of a body in each direction, but for a request that comes late.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sync.testing.http_line import PIECE_BYTES, Message, Side, drop, read_head, tunnel

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    Connect = Callable[[], AbstractAsyncContextManager[Side]]

ANSWER_S_MAX = 60.0  # how long an answer that gets lost is waited for: an event stream has no end
LINGER_S_MAX = 5.0  # for the rest of a request that was answered before its end (413)
WATCH_S = 0.1  # how soon the server learns that a device has hung up
INTERIM_STATUS = re.compile(rb"^HTTP/1\.[01] 1(?!01)\d\d\b")
UPGRADED_STATUS = re.compile(rb"^HTTP/1\.[01] 101\b")
LATE_BYTES_MAX = 16 * 1024 * 1024  # of a request that is held to come late
SLOW_BYTES, SLOW_S = 256, 0.01  # a piece of a slow link, and the wait behind it


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request of a device and what becomes of it; each `run` says whether it can go on."""

    device: Side
    request: Message
    is_head: bool

    async def run(self, upstream: Side) -> bool:
        """Pass on both, as they come."""
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self._watch())
            sending = group.create_task(self._send(upstream))
            answer = await self._read_answer(upstream)
            if UPGRADED_STATUS.match(answer.head):
                watching.cancel()
                await self.device.send(answer.head)
                await tunnel(self.device, upstream)
                return False
            await answer.pass_on(self.device)
            watching.cancel()
            return await self._finish(sending, answer)

    async def run_doubled(self, one: Side, other: Side) -> bool:
        """Send the request on both connections, pass on the answer that comes first."""
        async with asyncio.timeout(ANSWER_S_MAX), asyncio.TaskGroup() as group:
            sending = group.create_task(self._send(one, other))
            answers = {asyncio.create_task(self._read_answer(side)) for side in (one, other)}
            try:
                winner = await _take_first(answers)
                await winner.result().pass_on(self.device)
                can_go_on = await self._finish(sending, winner.result())
                for loser in answers - {winner}:  # it has to arrive as well, or nothing is doubled
                    with suppress(OSError, EOFError):
                        await drop((await loser).pieces())
            finally:
                for answer in answers:
                    answer.cancel()
            return can_go_on

    async def run_answer_lost(self, upstream: Side) -> bool:
        """Wait for the whole answer, and keep it from the device."""
        async with asyncio.timeout(ANSWER_S_MAX), asyncio.TaskGroup() as group:
            sending = group.create_task(self._send(upstream))
            await drop((await self._read_answer(upstream)).pieces())
            sending.cancel()
        raise ConnectionResetError

    async def run_answer_truncated(self, upstream: Side, rng: random.Random) -> bool:
        """Break off somewhere in the answer."""
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(self._send(upstream))
            await (await self._read_answer(upstream)).pass_part(self.device, rng)
            sending.cancel()
        return False

    async def run_request_cut(self, upstream: Side, rng: random.Random) -> bool:
        """Break off somewhere in the request."""
        await self.request.pass_part(upstream, rng)
        await upstream.close()
        raise ConnectionResetError

    async def run_slow(self, upstream: Side) -> bool:
        """Pass on the request byte by byte, as it were."""
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(self._trickle(upstream))
            answer = await self._read_answer(upstream)
            await answer.pass_on(self.device)
            return await self._finish(sending, answer)

    async def run_late(self, connect: Connect, delay_s: float) -> None:
        """Take the request, and hang up; it arrives when the device has long sent others."""
        body = bytearray()
        async for piece in self.request.pieces():
            body += piece
            if len(body) > LATE_BYTES_MAX:
                raise ConnectionResetError
        self.device.reset()
        await asyncio.sleep(delay_s)
        async with asyncio.timeout(ANSWER_S_MAX), connect() as upstream:
            await upstream.send(self.request.head + body)
            await drop((await self._read_answer(upstream)).pieces())

    async def _trickle(self, upstream: Side) -> None:
        await upstream.send(self.request.head)
        async for piece in self.request.pieces():
            for start in range(0, len(piece), SLOW_BYTES):
                await upstream.send(piece[start : start + SLOW_BYTES])
                await asyncio.sleep(SLOW_S)

    async def swallow(self) -> bool:
        """Take whatever the device sends until it gives up."""
        while await self.device.reader.read(PIECE_BYTES):
            pass
        return False

    async def _send(self, *upstreams: Side) -> None:
        """Send the request to every upstream; one that stops listening may still answer."""
        listening = list(upstreams)
        await _send_to_each(listening, self.request.head)
        async for piece in self.request.pieces():
            await _send_to_each(listening, piece)

    async def _read_answer(self, upstream: Side) -> Message:
        """The final answer with its body still unread; interim ones (100) are passed on."""
        while True:
            head = await read_head(upstream.reader, skipped_lines=1)
            if not INTERIM_STATUS.match(head):
                return Message.of_answer(head, upstream.reader, is_to_head=self.is_head)
            await self.device.send(head)

    async def _finish(self, sending: asyncio.Task[None], answer: Message) -> bool:
        """Let the request's rest arrive; whether the device can send another one."""
        await asyncio.wait({sending}, timeout=LINGER_S_MAX)
        is_over = sending.done()
        sending.cancel()
        return is_over and not answer.is_last() and not self.request.is_last()

    async def _watch(self) -> None:
        """Break off the exchange when the device hangs up, as the server would see it."""
        while not self.device.has_gone():
            await asyncio.sleep(WATCH_S)
        raise ConnectionResetError


async def _send_to_each(sides: list[Side], piece: bytes) -> None:
    for side in tuple(sides):
        try:
            await side.send(piece)
        except OSError:
            sides.remove(side)


async def _take_first(
    answers: set[asyncio.Task[Message]],
) -> asyncio.Task[Message]:
    """The answer that is there first; a connection that broke gives none."""
    waiting = set(answers)
    while waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for answer in done:
            if not answer.exception():
                return answer
    raise ConnectionResetError
