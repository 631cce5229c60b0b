"""The office at its browser, and a phone that hears of what it does."""

from __future__ import annotations

import pytest
from django.test import Client

from backend.accounts.models import User
from tests.phones import Phone, World


@pytest.fixture
def office(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture
def phone(wales: World) -> Phone:
    found = wales.hire()
    found.pull()
    return found
