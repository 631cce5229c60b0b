"""How many histories the laws of the pull are tried on.

A chapter is one run of a law's test, of as many histories as the test says. Its rows are rolled
back at its end, so that the tables of the next are small again. `--hypothesis-profile=many` asks
for many chapters; that is `make laws`.
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
