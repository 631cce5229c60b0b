"""SIGINT, SIGTERM and SIGHUP become one exception that unwinds in order.

    first signal  -> Stopped at the point where the program is -> with-blocks clean up
    second signal -> waits until the clean-up under way is over

Python runs signal handlers in the main thread only; elsewhere all of this does nothing, and the
death signal of each child (see processes) is what remains.
"""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(KeyboardInterrupt):
    """We were asked to stop by a signal; a KeyboardInterrupt so that everyone lets it pass."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum

    @property
    def exit_status(self) -> int:
        """What a shell expects of a program ended by this signal."""
        return 128 + self.signum


@dataclass(slots=True, kw_only=True)
class _Gate:
    """How deep we are in sections that must not be interrupted, and what came meanwhile."""

    depth: int = 0
    pending: int | None = None


_GATE = _Gate()


def _on_signal(signum: int, _frame: FrameType | None) -> None:
    if _GATE.depth:
        _GATE.pending = signum
        return
    raise Stopped(signum)


@contextmanager
def orderly_signals() -> Iterator[None]:
    """Turn the stopping signals into `Stopped` inside the block.

    A handler that the program has set itself stays, and so does a signal that is ignored (nohup).
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        signum: handler
        for signum in STOPPING
        if (handler := signal.getsignal(signum)) in {signal.SIG_DFL, signal.default_int_handler}
    }
    try:
        for signum in before:
            signal.signal(signum, _on_signal)
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@contextmanager
def held() -> Iterator[None]:
    """Let no `Stopped` into the block; one that came meanwhile is raised at its end.

    Wraps each "start it and note it down" and each clean-up, which are bounded in time.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _GATE.depth += 1
    try:
        yield
    finally:
        _GATE.depth -= 1
        pending = _GATE.pending
        if not _GATE.depth and pending is not None:
            _GATE.pending = None
            raise Stopped(pending)
