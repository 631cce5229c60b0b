"""The office's session: a cookie opens pages to a browser, and writes need what only they can read."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from backend.accounts.models import Role, Tenant, User
from tests.phones import World

ADD = "/admin/accounts/tenant/add/"
ORDERS = "/api/v1/work-orders/"


@pytest.fixture
def browser(db: None) -> Client:
    """Return a browser of somebody of the office, whose requests another page could send too."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("root"))
    return client


def test_form_that_another_page_sends_is_refused(browser: Client) -> None:
    form = {"slug": "kent", "name": "Kent", "is_active": "on"}

    assert browser.post(ADD, form).status_code == 403
    assert not Tenant.objects.filter(slug="kent").exists()
    token = str(browser.get(ADD).context["csrf_token"])
    assert browser.post(ADD, {**form, "csrfmiddlewaretoken": token}).status_code == 302
    assert Tenant.objects.filter(slug="kent").exists()


def test_write_by_session_needs_the_token_and_one_by_bearer_does_not(wales_world: World) -> None:
    dora = wales_world.hire(Role.DISPATCHER)
    client: Any = APIClient(enforce_csrf_checks=True)
    client.force_login(User.objects.get(pk=dora.user_id))

    assert client.get(ORDERS).status_code == 200
    refused = client.post(ORDERS, wales_world.order())
    assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")
    client.get("/admin/login/")  # sets the cookie
    token = client.cookies["csrftoken"].value
    made = client.post(ORDERS, wales_world.order(), headers={"X-CSRFToken": token})
    assert made.status_code == 201, made.content
    assert dora.send("POST", ORDERS, wales_world.order()).status_code == 201
