"""Two tenants whose rows carry canaries."""

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
def alice(wales: World) -> Phone:
    return wales.hire()


@pytest.fixture
def bob(wales: World) -> Phone:
    return wales.hire()


@pytest.fixture
def dora(wales: World) -> Phone:
    """Return the phone of the dispatcher, who may delete."""
    return wales.hire("dispatcher")
