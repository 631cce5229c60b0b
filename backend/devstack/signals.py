"""SIGINT, SIGTERM and SIGHUP become one exception that unwinds in order.

    first signal -> Stopped at the point where the program is -> with-blocks clean up
    later ones   -> only noted, so that none can break the clean-up off; `go_on` wants them again
    one that lands in a finalizer, where Python drops exceptions, is sent again

Python runs signal handlers in the main thread only; elsewhere all of this does nothing, and the
death signal of each child (see processes) is what remains.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

AGAIN_S = 0.05  # until a signal is sent again; the finalizer that swallowed it is over by then
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
    """Whether a signal may be raised now, and what came while it might not."""

    depth: int = 0  # of the sections under way that must not be interrupted
    is_stopping: bool = False  # one has been raised
    pending: int | None = None

    def raise_pending(self) -> None:
        """Raise what came meanwhile, if the time for it has come."""
        if self.pending is None or self.depth or self.is_stopping:
            return
        signum, self.pending, self.is_stopping = self.pending, None, True
        raise Stopped(signum)


_GATE = _Gate()


def _on_signal(signum: int, _frame: FrameType | None) -> None:
    _GATE.pending = signum
    _GATE.raise_pending()


def _send_again(other: Callable[[sys.UnraisableHookArgs], object]) -> Callable[..., None]:
    """Return a hook for what Python can raise nowhere; `other` hears of all but our own."""

    def hook(unraisable: sys.UnraisableHookArgs) -> None:
        stopped = unraisable.exc_value
        if not isinstance(stopped, Stopped):
            other(unraisable)
            return
        _GATE.is_stopping = False
        # By a thread: raised in here, it would be dropped as well.
        again = threading.Timer(AGAIN_S, os.kill, [os.getpid(), stopped.signum])
        again.daemon = True
        again.start()

    return hook


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
    hook = sys.unraisablehook
    try:
        sys.unraisablehook = _send_again(hook)
        for signum in before:
            signal.signal(signum, _on_signal)
        yield
    finally:
        sys.unraisablehook = hook
        for signum, handler in before.items():
            signal.signal(signum, handler)
        if before:
            _GATE.is_stopping, _GATE.pending = False, None


def go_on() -> None:
    """After a `Stopped` that was dealt with: raise the next one, also if it has come already."""
    _GATE.is_stopping = False
    _GATE.raise_pending()


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
        _GATE.raise_pending()
