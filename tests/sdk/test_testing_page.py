"""The page on testing apps: its files, run by pytest as they stand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from walkthrough import read_page, write_files

import fieldsync.testing

PAGE = Path(__file__).parents[2] / "clients/python_sdk/docs/testing.md"
TESTS_MIN = 20


def test_its_tests_pass(tmp_path: Path) -> None:
    """An author who copies them begins with green."""
    write_files(read_page(PAGE, {}), tmp_path)

    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:randomly",
            "-p",
            "no:django",
            "-W",
            "error",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    passed = int(done.stdout.rsplit("\n", 2)[-2].split()[0])
    assert passed >= TESTS_MIN, done.stdout


def test_it_names_all_that_there_is_for_tests() -> None:
    """What nobody can find is not there."""
    for name in ("FakeServer", "Fault", "Clock", "refusal"):
        assert name in fieldsync.testing.__all__
        assert f"`{name}`" in PAGE.read_text()
