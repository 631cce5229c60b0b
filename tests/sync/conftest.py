"""A phone that sees all of the tenant and is up to date."""

from __future__ import annotations

import pytest

from tests.phones import Phone, World


@pytest.fixture
def phone(wales: World) -> Phone:
    found = wales.hire("dispatcher")
    found.pull()
    return found
