"""For whom code works: nobody until somebody says so, in requests and in threads of streams."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import Client, RequestFactory

from backend.accounts.models import Tenant, User
from backend.row_security import RowSecurityMiddleware
from sync import threads
from sync.row_security import Unbound, bind, bound, every_tenant, for_tenant, nobody, prelude

TENANT, OTHER = uuid.uuid4(), uuid.uuid4()


def test_outside_of_requests_work_is_for_all_tenants() -> None:
    assert bound() is Unbound.EVERYBODY


def test_blocks_end_where_they_began() -> None:
    with for_tenant(TENANT):
        with for_tenant(OTHER):
            assert bound() == OTHER
            bind(TENANT)
        assert bound() == TENANT
        with every_tenant():
            assert bound() is Unbound.EVERYBODY
        with nobody():
            assert bound() is Unbound.NOBODY
        assert bound() == TENANT


def test_request_is_for_nobody_until_somebody_is_known() -> None:
    seen: list[Any] = []

    def answer(_request: Any) -> Any:
        seen.append(bound())
        bind(TENANT)
        seen.append(bound())

    middleware = RowSecurityMiddleware(answer)
    for _ in range(2):
        middleware(RequestFactory().get("/api/v1/sync/pull"))

    assert seen == [Unbound.NOBODY, TENANT] * 2
    assert bound() is Unbound.EVERYBODY


def test_thread_of_a_stream_is_for_nobody_until_it_says() -> None:
    """Whoever waits on the event loop has no request around them any more."""
    with for_tenant(TENANT):
        assert async_to_sync(threads.run)(bound) is Unbound.NOBODY


@pytest.mark.django_db
def test_office_sees_all_tenants_and_nobody_else_does() -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))

    found = client.get("/admin/accounts/tenant/")

    assert found.status_code == 200
    assert found.context["cl"].result_count == 0
    Tenant.objects.create(slug="wales", name="Wales")
    assert client.get("/admin/accounts/tenant/").context["cl"].result_count == 1


@pytest.mark.parametrize(
    ("whom", "owner", "said"),
    [
        (TENANT, "owner", (str(TENANT), "none")),
        (TENANT, None, (str(TENANT), "none")),
        (Unbound.NOBODY, "owner", ("", "none")),
        (Unbound.EVERYBODY, "owner", ("", "owner")),
        (Unbound.EVERYBODY, None, ("", "none")),
    ],
)
def test_what_is_said_to_the_database(whom: Any, owner: str | None, said: Any) -> None:
    assert prelude(whom, owner) == said
