"""Signals become one exception: it is neither lost, nor does it leave anything behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # has no types of its own
import pytest

from backend.devstack.processes import children_ended, start_child
from backend.devstack.signals import Stopped, go_on, held, orderly_signals

ROOT = Path(__file__).parents[2]
WAIT_S = 60
ENVIRON = {"PATH": os.defpath}
# The signal comes when a lock has just been taken that every wait for the child needs.
INTERRUPT_A_QUESTION = """
import os, signal, sys
from backend.devstack.processes import start_child
from backend.devstack.signals import Stopped, orderly_signals

def interrupt(frame, event, called):
    if frame.f_code.co_name == "_internal_poll" and event == "c_return":
        sys.setprofile(None)
        signal.raise_signal(signal.SIGINT)

child = start_child(name="x", command=["sleep", "600"], environ={"PATH": os.defpath})
try:
    with orderly_signals():
        sys.setprofile(interrupt)
        child.is_running()
except Stopped:
    print("interrupted", flush=True)
child.stop()
print("stopped")
"""


def test_child_that_no_variable_holds_yet_is_ended() -> None:
    """Ctrl-C between the start of a service and its being noted down."""
    before = psutil.Process().children()

    with pytest.raises(Stopped), orderly_signals(), children_ended():  # noqa: PT012  # the block
        with held():
            signal.raise_signal(signal.SIGINT)
            start_child(name="x", command=["sleep", "600"], environ=ENVIRON)
        pytest.fail("the signal was lost")

    assert set(psutil.Process().children()) <= set(before)


def test_signal_while_it_is_asked_whether_a_child_runs_does_not_hang_the_clean_up() -> None:
    """Ctrl-C while a service starts, when that is asked again and again."""
    done = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-c", INTERRUPT_A_QUESTION],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_S,
    )

    assert (done.stdout, done.stderr) == ("interrupted\nstopped\n", "")


def test_signal_that_is_ignored_stays_so() -> None:
    """What nohup or a shell's background runs is not meant by the terminal's signals."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with orderly_signals():
            signal.raise_signal(signal.SIGHUP)
    except Stopped:
        pytest.fail("it was heard")
    finally:
        signal.signal(signal.SIGHUP, before)


def test_second_signal_does_not_break_the_clean_up_off() -> None:
    """Ctrl-C twice; who deals with the first one gets the second when it asks for it."""
    with orderly_signals():
        with pytest.raises(Stopped, match="SIGINT"):
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        with held():
            signal.raise_signal(signal.SIGHUP)

        with pytest.raises(Stopped, match="SIGHUP"):
            go_on()


def test_signal_that_lands_in_a_finalizer_is_not_lost() -> None:
    """Whenever rubbish is collected, Python drops what is raised: it would go on as if unasked."""

    class Rubbish:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    with orderly_signals():
        rubbish = Rubbish()
        del rubbish

        with pytest.raises(Stopped, match="SIGTERM"):
            threading.Event().wait(WAIT_S)
