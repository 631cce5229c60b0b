"""Staying logged in: a chain of refresh tokens that survives lost answers, and no thief."""

from __future__ import annotations

import datetime as dt
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from django.db import close_old_connections, connection
from rest_framework.test import APIClient
from rest_framework_simplejwt.tokens import AccessToken

from backend.accounts import logins
from backend.accounts.errors import TokenExpired
from backend.accounts.models import Device
from sync.clock import utc_now
from tests.accounts.conftest import INSTALL, post_login
from tests.accounts.endings import ENDINGS

if TYPE_CHECKING:
    from pytest_django import DjangoAssertNumQueries

    from tests.accounts.conftest import Login

QUERIES = 3  # who it is, the chain, the first use of a token
AT_ONCE = 50


def refresh(api: APIClient, token: str) -> Any:
    """Ask for a new pair."""
    return api.post("/api/v1/auth/refresh", {"refresh": token})


def next_of(api: APIClient, token: str) -> str:
    answer = refresh(api, token)
    assert answer.status_code == 200, answer.content
    following: str = answer.json()["refresh"]
    return following


def pull(api: APIClient, access: str) -> Any:
    return api.get("/api/v1/sync/limits", headers={"Authorization": f"Bearer {access}"})


def test_refresh_gives_a_new_pair_for_the_same_device(api: APIClient, login: Login) -> None:
    """A device that comes back after hours goes on as the same device."""
    answer = refresh(api, login.answer["refresh"])

    body = answer.json()
    assert answer.status_code == 200
    assert sorted(body) == ["access", "refresh"]
    token = AccessToken(body["access"])
    assert token["user_id"] == str(login.user.pk)
    assert token["tenant"] == str(login.tenant.pk)
    assert token["device"] == str(login.device.pk)
    assert pull(api, body["access"]).status_code == 200
    assert refresh(api, body["refresh"]).status_code == 200


def test_lost_answer_costs_nothing(api: APIClient, login: Login) -> None:
    """The same token has the same successor, as long as nobody has used that."""
    first = login.answer["refresh"]

    second = next_of(api, first)

    assert [next_of(api, first) for _ in range(3)] == [second] * 3
    third = next_of(api, second)
    assert next_of(api, second) == third
    assert len({first, second, third}) == 3


@pytest.mark.parametrize("spent", [0, 1, 2])
def test_spent_token_ends_the_login(
    api: APIClient, login: Login, spent: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A thief and the owner both have it; neither goes on, and somebody is told."""
    chain = [login.answer["refresh"]]
    for _ in range(3):
        chain.append(next_of(api, chain[-1]))
    access = refresh(api, chain[-1]).json()["access"]
    told: list[dict[str, Any]] = []

    def hear(**event: Any) -> None:
        told.append(event)

    logins.token_reused.connect(hear)
    with caplog.at_level(logging.WARNING, "backend.accounts.logins"):
        answer = refresh(api, chain[spent])
    again = refresh(api, chain[spent])
    logins.token_reused.disconnect(hear)

    assert (answer.status_code, answer.json()["code"]) == (401, "token_reused")
    assert (again.status_code, again.json()["code"]) == (401, "login_ended")
    assert refresh(api, chain[-1]).json()["code"] == "login_ended"
    assert pull(api, access).json()["code"] == "login_ended"
    assert [event["device_id"] for event in told] == [login.device.pk]
    assert str(login.device.pk) in caplog.text
    assert chain[spent] not in caplog.text
    assert post_login(api).status_code == 200


def test_database_alone_is_no_key(api: APIClient, login: Login) -> None:
    """Nothing that is stored is a token, or makes one."""
    token = login.answer["refresh"]
    stored = Device.objects.filter(pk=login.device.pk).values().get()

    kept = [bytes(value) for value in stored.values() if isinstance(value, bytes | memoryview)]

    assert len(kept) == 2
    assert not any(value.hex() in token or str(value) in token for value in kept)
    assert token not in str(stored)


@pytest.mark.django_db(transaction=True)
def test_many_at_once_are_told_one_successor(api: APIClient, login: Login) -> None:
    """Also when it is the token's first use, which one of them makes."""
    token = next_of(api, login.answer["refresh"])

    def ask(_: int) -> str:
        try:
            return next_of(APIClient(), token)
        finally:
            close_old_connections()
            connection.close()

    with ThreadPoolExecutor(10) as threads:
        told = set(threads.map(ask, range(AT_ONCE)))

    assert len(told) == 1
    assert refresh(api, told.pop()).status_code == 200


def test_new_login_ends_the_one_before(api: APIClient, login: Login) -> None:
    """On the same device; that of another goes on."""
    other = post_login(api, device={**INSTALL, "install_id": "tablet"}).json()

    again = post_login(api).json()

    assert refresh(api, login.answer["refresh"]).json()["code"] == "login_ended"
    assert pull(api, login.answer["access"]).json()["code"] == "login_ended"
    for body in (other, again):
        assert refresh(api, body["refresh"]).status_code == 200


def test_logging_out_ends_all_tokens(api: APIClient, login: Login) -> None:
    """At once; and it can be logged in again."""
    answers = [api.post("/api/v1/auth/logout", headers=login.bearer) for _ in range(2)]

    assert [(each.status_code, each.content) for each in answers] == [(204, b"")] * 2
    assert pull(api, login.answer["access"]).json()["code"] == "login_ended"
    assert refresh(api, login.answer["refresh"]).json()["code"] == "login_ended"
    assert pull(api, post_login(api).json()["access"]).status_code == 200


def test_logging_out_again_leaves_the_next_login_alone(api: APIClient, login: Login) -> None:
    """The first answer was lost, and somebody logs in before the second try comes."""
    again = post_login(api).json()

    api.post("/api/v1/auth/logout", headers=login.bearer)

    assert pull(api, again["access"]).status_code == 200
    assert api.post("/api/v1/auth/logout").status_code == 401


def test_restored_database_knows_less_than_its_devices(api: APIClient, login: Login) -> None:
    """A token from after the backup is one of ours still."""
    before = Device.objects.filter(pk=login.device.pk).values().get()
    second = next_of(api, login.answer["refresh"])
    third = next_of(api, second)
    fourth = next_of(api, third)

    Device.objects.filter(pk=login.device.pk).update(**before)

    assert refresh(api, fourth).status_code == 200
    assert refresh(api, second).json()["code"] == "token_reused"


def test_cost_is_constant(
    api: APIClient, login: Login, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    second = next_of(api, login.answer["refresh"])

    with django_assert_num_queries(QUERIES):
        refresh(api, second)


@pytest.mark.parametrize("ending", ENDINGS)
def test_ended_login_cannot_be_refreshed(api: APIClient, login: Login, ending: str) -> None:
    """A 401 with its reason, and never a 500, also for what was deleted."""
    end, code = ENDINGS[ending]
    end(login)

    answer = refresh(api, login.answer["refresh"])

    assert (answer.status_code, answer.json()["code"]) == (401, code)


def test_login_that_is_not_used_for_long_asks_for_another(login: Login) -> None:
    """The longest spell offline is a setting; each use begins it anew."""
    token, now = login.answer["refresh"], utc_now()
    _, token = logins.refresh(token, now=now)

    for days in (29, 58, 87):
        _, token = logins.refresh(token, now=now + dt.timedelta(days=days))

    with pytest.raises(TokenExpired):
        logins.refresh(token, now=now + dt.timedelta(days=118))


@pytest.mark.parametrize("token", ["", "garbage", "a.b.c", "x" * 5_000, "é" * 20, "A" * 160])
def test_garbage_is_no_refresh_token(api: APIClient, db: None, token: str) -> None:
    """What cannot be a token is 400 or 401 by its form, and never a 500."""
    answer = refresh(api, token)

    assert answer.json()["code"] in {"token_invalid", "validation_failed"}


def test_changed_token_is_none_and_ends_nothing(api: APIClient, login: Login) -> None:
    """Whoever knows the ids of a device cannot log it out."""
    token = login.answer["refresh"]

    for place in range(0, len(token), 7):
        changed = "B" if token[place] != "B" else "C"
        answer = refresh(api, token[:place] + changed + token[place + 1 :])
        assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid"), place

    assert refresh(api, token).status_code == 200


def test_access_token_does_not_refresh(api: APIClient, login: Login) -> None:
    """Else a leaked access token would live for ever."""
    answer = refresh(api, login.answer["access"])

    assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")


def test_refresh_token_gives_no_access(api: APIClient, login: Login) -> None:
    assert pull(api, login.answer["refresh"]).status_code == 401
