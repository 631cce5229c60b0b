"""The office's pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.test import Client

from backend.accounts.models import User

if TYPE_CHECKING:
    from tests.accounts.conftest import Login


@pytest.fixture
def office(db: None) -> Client:
    """Return a browser that is logged in to the admin."""
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))
    return client


@pytest.mark.parametrize("model", ["tenant", "user", "membership", "device"])
def test_office_lists_and_opens(office: Client, login: Login, model: str) -> None:
    """Every model has its list, its search and its form."""
    row = getattr(login, model)

    for address in ("", "?q=a", f"{row.pk}/change/"):
        page = office.get(f"/admin/accounts/{model}/{address}")
        assert page.status_code == 200


def test_devices_are_not_made_by_hand(office: Client) -> None:
    """A device exists because an app logged in."""
    assert office.get("/admin/accounts/device/add/").status_code == 403


@pytest.mark.parametrize("model", ["tenant", "user", "membership"])
def test_people_and_tenants_are_never_deleted(office: Client, login: Login, model: str) -> None:
    """Rows point at them for good; switching them off is what ends a login."""
    row = getattr(login, model)

    assert office.get(f"/admin/accounts/{model}/{row.pk}/delete/").status_code == 403
