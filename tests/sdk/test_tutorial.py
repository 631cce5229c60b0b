"""The tutorial, done as it is written: an empty folder, a new environment, the server of `make serve`."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from walkthrough import File, is_as_printed, read_page, walk

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "clients/python_sdk/docs/tutorial.md"
URL = "http://127.0.0.1:8000"
START_S_MAX = 120


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """Return the address of a server that was started as `make serve` does."""
    environ = {k: v for k, v in os.environ.items() if k not in {"DATABASE_URL", "REDIS_URL"}}
    server = subprocess.Popen(
        [sys.executable, "-m", "backend.devstack", "serve", "--port", "0"],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
    )
    stopping = threading.Timer(START_S_MAX, server.send_signal, [signal.SIGTERM])
    stopping.start()
    try:
        assert server.stdout is not None
        found = (re.match(r"Fieldsync runs at (\S+)", line) for line in server.stdout)
        url = next((match[1] for match in found if match), None)
        stopping.cancel()
        assert url, "it did not start"
        yield url
    finally:
        stopping.cancel()
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=60)


def test_works_as_written(served: str, tmp_path: Path) -> None:
    """Every line that a reader types, and every line that is printed."""
    folder = tmp_path / "reader"
    folder.mkdir()
    steps = read_page(PAGE, {URL: served})

    environ = {"FIELDSYNC": str(ROOT), "PIP_QUIET": "2", "PYTHONPATH": ""}
    walk(steps, folder, environ)

    assert len([step for step in steps if isinstance(step, File)]) >= 6


@pytest.mark.parametrize(
    ("page", "output", "is_it"),
    [
        ("Sent 2.",      "Sent 2.\n",        True),
        ("Sent 2.",      "Sent 3.\n",        False),
        ("Sent 2.",      "Sent 2x\n",        False),  # no dot of an expression
        ("Sent ….\n- …", "Sent 41.\n- a b",  True),
        ("Sent …",       "Sent 4\nwarning",  False),  # no line that the page has not
        ("",             "",                 True),
        ("",             "warning",          False),
    ],
)  # fmt: skip
def test_other_output_than_printed_is_found(page: str, output: str, is_it: bool) -> None:
    assert is_as_printed(page, output) is is_it
