"""How many histories the laws are tried on: those of the pull, and those of the SDK.

A chapter is one run of a law's test, of as many histories as the test says. What it wrote is gone
at its end, so that the next begins small again. `--hypothesis-profile=many` asks for many chapters;
that is `make laws`.
"""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import settings

CHAPTERS: Final = {"many": 16}  # by the profile; one chapter with any other

settings.register_profile("many")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what asks for a chapter once for each."""
    if "chapter" in metafunc.fixturenames:
        count = CHAPTERS.get(settings.get_current_profile_name(), 1)
        metafunc.parametrize("chapter", range(1, count + 1))
