"""Two tenants, and a phone that sees all of the first and is up to date."""

from __future__ import annotations

import pytest

from tests.phones import Phone, World, make_world


@pytest.fixture
def wales(db: None) -> World:
    return make_world("wales")


@pytest.fixture
def northwind(db: None) -> World:
    return make_world("northwind")


@pytest.fixture
def phone(wales: World) -> Phone:
    found = wales.hire("dispatcher")
    found.pull()
    return found
