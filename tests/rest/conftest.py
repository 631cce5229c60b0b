"""The office at work: dashboards and pages on the same rows as the phones."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.cache import cache

from sync.ids import uuid7
from tests.phones import Phone, World

ORDERS = "/api/v1/work-orders/"


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    """What one test has listed is not there for the next."""
    cache.clear()


@pytest.fixture
def dora(wales: World) -> Phone:
    """Return the dispatcher, who sees all of the tenant."""
    return wales.hire("dispatcher")


@pytest.fixture
def alice(wales: World) -> Phone:
    """Return a technician of Cardiff."""
    return wales.hire()


def make_order(who: Phone, world: World, **data: Any) -> dict[str, Any]:
    """Create a work order by the plain API; return it as answered."""
    answer = who.send("POST", ORDERS, world.order(**data))
    assert answer.status_code == 201, answer.content
    row: dict[str, Any] = answer.json()
    return row


def make_inspection(who: Phone, world: World) -> dict[str, Any]:
    """Create an inspection with three answers; return it as answered."""
    asset = who.send("POST", "/api/v1/assets/", {"site": world.site, "category": "pump"}).json()
    answers = [{"id": str(uuid7()), "item_code": f"item-{n}", "value": "yes"} for n in range(3)]
    body = {"asset": asset["id"], "template_code": "t-1", "answers": answers}
    row: dict[str, Any] = who.send("POST", "/api/v1/inspections/", body).json()
    return row


def problem(answer: Any) -> dict[str, Any]:
    assert answer["Content-Type"] == "application/problem+json"
    found: dict[str, Any] = json.loads(answer.content)
    return found
