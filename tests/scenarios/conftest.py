"""The people of the stories, and the look at the tables that ends each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection

from sync import audit
from tests.phones import Phone, World


@pytest.fixture(autouse=True)
def agreement(request: pytest.FixtureRequest, db: None) -> Iterator[None]:
    """See after each story that rows and feed agree, unless it wrote past the engine itself.

    A phone's pull tells what the feed says; only this tells that the tables say the same.
    """
    yield
    is_told = request.node.get_closest_marker("past_the_engine") is None
    if is_told and not connection.needs_rollback:
        with connection.cursor() as cursor:
            cursor.execute(audit._HASH)  # as in a transaction of its own
        for tenant_id in audit.list_tenants():
            assert list(audit.check(tenant_id, audit.Tally())) == []


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
