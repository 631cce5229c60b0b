"""The one subscription of a process: a thread that listens while anybody waits.

    first waiter -> thread -> line -> parse -> posted to the hub's event loop
                      `- the line broke: again, after a pause that doubles

Whenever the line stands anew, the hub asks the database for what was missed meanwhile.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any, Protocol

from sync.pokes.line import Complaints, Line
from sync.pokes.lines import make_line
from sync.pokes.message import parse

if TYPE_CHECKING:
    import asyncio

    from sync.pokes.message import Poke

log = logging.getLogger(__name__)

PAUSE_S = 0.1  # before the second try; doubles with each
PAUSE_S_MAX = 5.0


class Audience(Protocol):
    """Those who wait, on an event loop: the hub."""

    count: int
    loop: asyncio.AbstractEventLoop

    def deliver(self, poke: Poke) -> None:
        """Tell those whom `poke` is for."""

    def sweep_soon(self) -> None:
        """Ask the database now: pokes may have been missed."""


class Listener:
    """Feeds one hub; the thread ends by itself when nobody waits there any more."""

    def __init__(self, hub: Audience) -> None:
        self._hub = hub
        self._thread: threading.Thread | None = None
        self._pause_s = PAUSE_S
        self._rng = random.Random()  # noqa: S311  # spreads what many do; guards nothing
        self._complain = Complaints(log, "no pokes are heard, devices find out later")

    def ensure(self) -> None:
        """See to it that somebody listens; called on the hub's loop for each waiter."""
        if self._thread is None and (line := make_line()) is not None:
            self._thread = threading.Thread(
                target=self._run, args=[line], name="poke-listener", daemon=True
            )
            self._thread.start()

    def _run(self, line: Line) -> None:
        with closing(line):
            while self._is_wanted():
                try:
                    self._listen(line)
                except Exception as error:  # whatever it is: the database is asked
                    self._complain(error)
                    time.sleep(self._pause_s * self._rng.uniform(0.5, 1))
                    self._pause_s = min(self._pause_s * 2, PAUSE_S_MAX)
        self._post(self._ended)

    def _listen(self, line: Line) -> None:
        """Pass on what comes until nobody waits any more."""
        for position, data in enumerate(line.listen()):
            if position == 0:
                self._pause_s = PAUSE_S
                self._post(self._hub.sweep_soon)
            poke = parse(data) if data is not None else None
            if poke is not None:
                self._post(self._hub.deliver, poke)
            if not self._is_wanted():
                return

    def _is_wanted(self) -> bool:
        return self._hub.count > 0 and not self._hub.loop.is_closed()

    def _ended(self) -> None:
        """Somebody may have come while the thread was on its way out."""
        self._thread = None
        if self._hub.count:
            self.ensure()

    def _post(self, work: Callable[..., None], *arguments: Any) -> None:
        try:
            self._hub.loop.call_soon_threadsafe(work, *arguments)
        except RuntimeError:  # the loop has ended meanwhile, and with it all who waited
            log.debug("nobody is left to hear of pokes")
