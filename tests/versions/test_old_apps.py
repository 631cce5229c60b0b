"""An app that is older than its tenant takes: it may push all its work, and is told to be updated."""

from __future__ import annotations

from typing import Any

import pytest

from backend.accounts.app_versions import is_older
from backend.accounts.models import Device, Tenant
from tests.phones import PULL, Phone, World, create


@pytest.mark.parametrize(
    ("version", "minimum", "older"),
    [
        ("1.9", "1.10", True),
        ("1.10", "1.9", False),
        ("1.10", "1.10", False),
        ("1.10", "1.10.1", True),
        ("2", "1.99", False),
        ("2.0", "2", False),
        ("v2.1-beta+7", "2.1", False),
        ("dev", "0.1", True),
        ("", "1", True),
        ("9" * 32, "1", False),
        ("dev", "", False),
        ("1.0", "", False),
    ],
)
def test_numbers_are_compared_one_by_one(version: str, minimum: str, older: bool) -> None:
    assert is_older(version, minimum) is older


@pytest.fixture
def old(wales: World) -> Phone:
    """Return the phone of an app that is one version too old."""
    phone = wales.hire()
    Device.objects.filter(pk=phone.device_id).update(app_version="1.9")
    Tenant.objects.filter(pk=wales.tenant.pk).update(min_app_version="1.10")
    return phone


def test_old_app_pushes_and_is_told_to_be_updated(wales: World, old: Phone) -> None:
    (line,) = old.push(create("work_orders", **wales.order()))
    assert line["outcome"] == "created"

    for query, headers in (("", {}), ("?limit=1", {}), ("", {"Accept": "application/x-ndjson"})):
        answer: Any = old.send("GET", f"{PULL}{query}", **headers)
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (426, "app_version_too_old")
        assert problem["minimum"] == "1.10"


def test_app_that_was_updated_says_so_and_goes_on(old: Phone) -> None:
    assert old.send("GET", PULL, **{"X-App-Version": "1.10"}).status_code == 200

    assert Device.objects.get(pk=old.device_id).app_version == "1.10"
    assert old.send("GET", PULL).status_code == 200, "it need not say so again"


def test_version_that_is_said_again_is_not_written_again(
    old: Phone, django_assert_num_queries: Any
) -> None:
    for _ in range(2):
        old.send("GET", "/api/v1/sync/limits", **{"X-App-Version": "1.10"})

    with django_assert_num_queries(1):
        old.send("GET", "/api/v1/sync/limits", **{"X-App-Version": "1.10"})
    old.send("GET", "/api/v1/sync/limits", **{"X-App-Version": "1" * 33})
    assert Device.objects.get(pk=old.device_id).app_version == "1.10"


def test_other_tenants_apps_are_theirs(old: Phone, northwind: World) -> None:
    other = northwind.hire()
    Device.objects.filter(pk=other.device_id).update(app_version="0.1")

    assert other.send("GET", PULL).status_code == 200
