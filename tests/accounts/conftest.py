"""Two tenants, and the people and phones of a test."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from backend.accounts.models import Device, Membership, Role, Tenant, User
from tests.phones import World, make_world

if TYPE_CHECKING:
    from rest_framework.test import APIClient

PASSWORD = "a-long-way-to-cardiff"  # of nobody
INSTALL = {"install_id": "phone-1", "platform": "android", "app_version": "1.0"}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A login that worked, and everything that it names."""

    answer: dict[str, Any]
    user: User
    tenant: Tenant
    membership: Membership
    device: Device

    @property
    def bearer(self) -> dict[str, str]:
        """The header of this device's requests."""
        return {"Authorization": f"Bearer {self.answer['access']}"}


def post_login(api: APIClient, username: str = "tess", **over: Any) -> Any:
    """Log in as an app does; `over` replaces members of the body."""
    body = {"username": username, "password": PASSWORD, "device": INSTALL, **over}
    return api.post("/api/v1/auth/token", body)


@pytest.fixture
def wales_world(db: None) -> World:
    """Return the tenant of most tests, with rows and people to hire."""
    return make_world("wales")


@pytest.fixture
def northwind_world(db: None) -> World:
    """Return the other tenant."""
    return make_world("northwind")


@pytest.fixture
def wales(db: None) -> Tenant:
    """Return the tenant of most tests."""
    return Tenant.objects.create(slug="wales", name="Wales")


@pytest.fixture
def northwind(db: None) -> Tenant:
    """Return the other tenant."""
    return Tenant.objects.create(slug="northwind", name="Northwind")


@pytest.fixture
def tess(wales: Tenant) -> User:
    """Return a technician in wales."""
    user = User.objects.create_user("tess", password=PASSWORD)
    Membership.objects.create(user=user, tenant=wales, role=Role.TECHNICIAN)
    return user


@pytest.fixture
def login(api: APIClient, tess: User, wales: Tenant) -> Login:
    """Return what tess has after logging in on her phone."""
    answer = post_login(api).json()
    return Login(
        answer=answer,
        user=tess,
        tenant=wales,
        membership=Membership.objects.get(user=tess, tenant=wales),
        device=Device.objects.get(pk=answer["device"]["id"]),
    )
