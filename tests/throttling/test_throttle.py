"""What is refused, to whom, and what the answer says."""

from __future__ import annotations

import re
from typing import Any

import pytest
from rest_framework.test import APIClient

from backend.devstack.valkey import Valkey
from tests.phones import Phone, World
from tests.throttling.conftest import Limit

LIMITS = "/api/v1/sync/limits"
LOGIN = "/api/v1/auth/token"
DAY = "1d"  # a window whose end no test comes upon


@pytest.fixture(params=["here", "redis"])
def limited(request: pytest.FixtureRequest, limit: Limit, valkey: Valkey) -> Limit:
    """Set rates, counted in the one place and in the other."""

    def set_rates(**rates: str) -> None:
        limit(redis_url=valkey.url if request.param == "redis" else "", **rates)

    return set_rates


def statuses(who: Phone, times: int, url: str = LIMITS) -> list[int]:
    return [who.send("GET", url).status_code for _ in range(times)]


def log_in(username: str, address: str = "1.1.1.1", **headers: str) -> Any:
    client: Any = APIClient(raise_request_exception=False)
    device = {"install_id": "x", "platform": "x", "app_version": "1"}
    body = {"username": username, "password": "wrong", "device": device}
    return client.post(LOGIN, body, format="json", REMOTE_ADDR=address, headers=headers)


def test_device_has_so_many_and_no_more(limited: Limit, wales: World) -> None:
    """Each its own: another device of the same person is not held to account."""
    limited(device=f"3/{DAY}")
    alice = wales.hire()
    bob = wales.hire()

    assert statuses(alice, 5) == [200, 200, 200, 429, 429]
    assert statuses(bob, 3) == [200] * 3


def test_refusal_says_when_to_come_back(limited: Limit, wales: World) -> None:
    """In whole seconds, past the window's end, and not all at the same moment."""
    limited(device="1/10m")
    alice = wales.hire()
    alice.send("GET", LIMITS)

    refused = [alice.send("GET", LIMITS) for _ in range(20)]

    assert {each.status_code for each in refused} == {429}
    assert {each.json()["code"] for each in refused} == {"throttled"}
    waits = {int(each["Retry-After"]) for each in refused}
    assert len(waits) > 1
    ends = [int(re.search(r";t=(\d+)", each["RateLimit"]).group(1)) for each in refused]  # type: ignore[union-attr]
    assert all(wait >= end - 1 for wait, end in zip(sorted(waits), sorted(ends), strict=False))
    assert max(waits) <= 600 * 1.5 + 1


def test_every_answer_says_what_is_left(limited: Limit, wales: World) -> None:
    limited(device=f"10/{DAY} 1000/2d")
    alice = wales.hire()

    first, second = alice.send("GET", LIMITS), alice.send("GET", LIMITS)

    policy = first["RateLimit-Policy"]
    assert '"device";q=10;w=86400, "device";q=1000;w=172800' in policy
    assert '"tenant";q=' in policy
    assert first["RateLimit"].startswith('"device";r=9;t=')
    assert second["RateLimit"].startswith('"device";r=8;t=')


def test_kinds_of_requests_have_windows_of_their_own(limited: Limit, wales: World) -> None:
    limited(push=f"1/{DAY}", digest=f"1/{DAY}", export=f"1/{DAY}")
    alice = wales.hire("dispatcher")

    client: Any = APIClient(headers={"Authorization": f"Bearer {alice.token}"})
    for url in ("/api/v1/sync/digest", "/api/v1/work-orders/export/"):
        assert [client.get(url).status_code for _ in range(2)] == [200, 429], url
    pushes = [alice.push_raw({"mutations": []}).status_code for _ in range(2)]
    assert pushes == [200, 429]
    bulk = alice.send("POST", "/api/v1/notes/bulk/", [], **{"Idempotency-Key": "x"})
    assert bulk.status_code == 429
    assert statuses(alice, 3) == [200] * 3


def test_tenant_that_hammers_leaves_others_alone(
    limited: Limit, wales: World, northwind: World
) -> None:
    """All of its devices together are refused; the other tenant's are not."""
    limited(tenant=f"4/{DAY}")
    crowd = [wales.hire() for _ in range(3)]
    nina = northwind.hire()

    answered = [statuses(each, 2) for each in crowd]

    assert answered == [[200, 200], [200, 200], [429, 429]]
    assert statuses(nina, 4) == [200] * 4


def test_guessing_a_password_is_slow_for_known_and_unknown_names(
    limited: Limit, wales: World
) -> None:
    """By name from anywhere, and nothing tells whether there is such a user."""
    limited(login_name=f"2/{DAY}")
    alice = wales.hire()
    from backend.accounts.models import User

    known = User.objects.get(pk=alice.user_id).username

    answers = {
        name: [log_in(name, address=f"1.1.1.{n}") for n in range(4)] for name in (known, "nobody")
    }

    for name, given in answers.items():
        assert [each.status_code for each in given] == [401, 401, 429, 429], name
    bodies = [[{**each.json(), "request_id": ""} for each in given] for given in answers.values()]
    for mine, theirs in zip(*bodies, strict=True):
        assert {**mine, "detail": ""} == {**theirs, "detail": ""}


def test_address_is_not_the_clients_to_say(limited: Limit, wales: World, settings: Any) -> None:
    """A new X-Forwarded-For for each try is no new address."""
    limited(login=f"2/{DAY}")

    told = [log_in(f"name-{n}", **{"X-Forwarded-For": f"6.6.6.{n}"}).status_code for n in range(4)]
    other = log_in("name", address="2.2.2.2").status_code
    settings.NUM_PROXIES = 1
    behind = [
        log_in(f"name-{n}", **{"X-Forwarded-For": f"6.6.6.{n}, 3.3.3.3"}).status_code
        for n in range(3)
    ]

    assert told == [401, 401, 429, 429]
    assert other == 401
    assert behind == [401, 401, 429]


def test_redis_that_dies_stops_nobody(limit: Limit, wales: World, valkey: Valkey) -> None:
    """Each process counts for itself then: still no more than the rate."""
    limit(redis_url=valkey.url, device=f"3/{DAY}")
    alice = wales.hire()
    assert statuses(alice, 1) == [200]

    valkey.stop()

    assert statuses(alice, 5) == [200, 200, 200, 429, 429]
