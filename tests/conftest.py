"""Fixtures that every suite may use."""

from __future__ import annotations

import pytest
from rest_framework.test import APIClient


@pytest.fixture
def api() -> APIClient:
    """Return a client that is nobody yet; it answers for errors instead of raising them."""
    return APIClient(raise_request_exception=False)
