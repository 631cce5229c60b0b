"""The bench's client processes by themselves."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from multiprocessing.process import BaseProcess
from types import FrameType

import pytest

from backend.devstack.signals import Stopped, orderly_signals
from loadtests.bench.client import start_clients


def test_client_that_no_variable_holds_yet_is_ended() -> None:
    """Ctrl-C while the clients are started."""

    def interrupt(frame: FrameType, event: str, _: object) -> None:
        if frame.f_code is BaseProcess.start.__code__ and event == "return":
            sys.setprofile(None)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Stopped) as stopped, orderly_signals():  # noqa: PT012  # the block
        sys.setprofile(interrupt)
        with start_clients(1):
            pytest.fail("the signal was lost")

    assert stopped.value.signum == signal.SIGINT
    assert multiprocessing.active_children() == []
