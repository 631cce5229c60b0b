"""What accounts keep for a time only: old logins, dead keys, sessions that are over."""

from __future__ import annotations

import datetime as dt
import io
import json
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.core.management import call_command

from backend.accounts.models import ApiKey, Device, Role
from sync.clock import utc_now
from tests.crowd import at_once
from tests.phones import World, make_api_key, make_world

DAY = dt.timedelta(days=1)


@pytest.fixture
def world(db: None) -> World:
    return make_world("cymru")


def prune(*arguments: str) -> dict[str, Any]:
    out = io.StringIO()
    call_command("sync_prune", "--json", *arguments, stdout=out, stderr=io.StringIO())
    report: dict[str, Any] = json.loads(out.getvalue())
    return report


def test_login_that_nobody_used_leaves_no_key(world: World) -> None:
    """Its refresh tokens are refused already; what made them is worth nothing but to a thief."""
    old, young = world.hire(), world.hire()
    for phone, days in ((old, 31), (young, 29)):
        Device.objects.filter(pk=phone.device_id).update(
            refreshed_at=utc_now() - days * DAY, refresh_key=b"k", refresh_hash=b"h"
        )

    report = prune()

    assert report["logins"]["rows"] == 1
    left = dict(Device.objects.values_list("pk", "refresh_key"))
    assert (left[old.device_id], bytes(left[young.device_id] or b"")) == (None, b"k")
    assert Device.objects.get(pk=old.device_id).login_id is None
    assert prune()["logins"]["rows"] == 0


def test_dead_keys_and_sessions_go_living_ones_stay(world: World) -> None:
    boss = world.hire(Role.ADMIN)
    for _ in range(4):
        make_api_key(boss, reads=["sites"], writes=[])
    revoked, expired, recent, _alive = ApiKey.objects.order_by("pk")
    ApiKey.objects.filter(pk=revoked.pk).update(revoked_at=utc_now() - 366 * DAY)
    ApiKey.objects.filter(pk=expired.pk).update(expires_at=utc_now() - 366 * DAY)
    ApiKey.objects.filter(pk=recent.pk).update(revoked_at=utc_now() - 364 * DAY)
    for name, days in (("over", -2), ("open", 2)):
        Session.objects.create(session_key=name, session_data="", expire_date=utc_now() + days * DAY)  # fmt: skip

    dry = prune("--dry-run")
    report = prune()

    assert (dry["api_keys"]["rows"], dry["sessions"]["rows"]) == (2, 1)
    assert (report["api_keys"]["rows"], report["sessions"]["rows"]) == (2, 1)
    assert ApiKey.objects.count() == 2
    assert list(Session.objects.values_list("session_key", flat=True)) == ["open"]


@pytest.mark.django_db(transaction=True)
def test_two_at_once_share_the_work() -> None:
    """Each thing is deleted once, and neither waits for the other in a circle."""
    Session.objects.bulk_create(
        Session(session_key=str(n), session_data="", expire_date=utc_now() - 2 * DAY)
        for n in range(300)
    )

    reports = at_once([lambda: prune("--only", "sessions", "--chunk", "7")] * 2)

    assert sum(report["sessions"]["rows"] for report in reports) == 300
    assert not Session.objects.exists()
