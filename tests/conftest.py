"""Fixtures that every suite may use."""

from __future__ import annotations

import pytest
from rest_framework.test import APIClient

from tests.phones import World, make_world


@pytest.fixture
def api() -> APIClient:
    """Return a client that is nobody yet; it answers for errors instead of raising them."""
    return APIClient(raise_request_exception=False)


@pytest.fixture
def wales(db: None) -> World:
    return make_world("wales")


@pytest.fixture
def northwind(db: None) -> World:
    """Return the other tenant, whose rows must never be seen or touched."""
    return make_world("northwind")
