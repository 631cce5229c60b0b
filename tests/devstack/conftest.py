"""These tests send signals; a run in the background of a shell starts with some of them ignored."""

from __future__ import annotations

import signal
from typing import Any

import pytest


@pytest.fixture(autouse=True, scope="session")
def signals_heard() -> None:
    """Hear them as a program in the foreground does; children inherit that."""
    defaults: dict[int, Any] = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
    }
    for signum, handler in defaults.items():
        if signal.getsignal(signum) is signal.SIG_IGN:
            signal.signal(signum, handler)
