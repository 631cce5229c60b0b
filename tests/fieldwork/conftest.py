"""A tenant with two territories and a site in each."""

from __future__ import annotations

import pytest

from tests.phones import World, make_world


@pytest.fixture
def wales(db: None) -> World:
    return make_world("wales")


@pytest.fixture
def northwind(db: None) -> World:
    return make_world("northwind")
