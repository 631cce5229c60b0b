"""Staying logged in."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from tests.accounts.endings import ENDINGS

if TYPE_CHECKING:
    from rest_framework.test import APIClient

    from tests.accounts.conftest import Login


def refresh(api: APIClient, token: str) -> Any:
    """Ask for a new pair."""
    return api.post("/api/v1/auth/refresh", {"refresh": token})


def test_refresh_gives_a_new_pair_for_the_same_device(api: APIClient, login: Login) -> None:
    """A device that comes back after hours goes on as the same device."""
    answer = refresh(api, login.answer["refresh"])

    body = answer.json()
    assert answer.status_code == 200
    assert sorted(body) == ["access", "refresh"]
    for token in (AccessToken(body["access"]), RefreshToken(body["refresh"])):
        assert token["user_id"] == str(login.user.pk)
        assert token["tenant"] == str(login.tenant.pk)
        assert token["device"] == str(login.device.pk)
    assert refresh(api, body["refresh"]).status_code == 200


@pytest.mark.parametrize("ending", ENDINGS)
def test_ended_login_cannot_be_refreshed(api: APIClient, login: Login, ending: str) -> None:
    """A 401 with its reason, and never a 500, also for what was deleted."""
    end, code = ENDINGS[ending]
    end(login)

    answer = refresh(api, login.answer["refresh"])

    assert (answer.status_code, answer.json()["code"]) == (401, code)


def test_expired_refresh_token_asks_for_a_login(api: APIClient, login: Login) -> None:
    """The longest spell offline is a setting."""
    token = RefreshToken(login.answer["refresh"])
    token.set_exp(from_time=token.current_time, lifetime=dt.timedelta(days=-1))

    answer = refresh(api, str(token))

    assert (answer.status_code, answer.json()["code"]) == (401, "token_expired")


@pytest.mark.parametrize("token", ["", "garbage", "a.b.c", "x" * 5_000])
def test_garbage_is_no_refresh_token(api: APIClient, db: None, token: str) -> None:
    """What cannot be a token is 400 or 401 by its form, and never a 500."""
    answer = refresh(api, token)

    assert answer.json()["code"] in {"token_invalid", "validation_failed"}


def test_access_token_does_not_refresh(api: APIClient, login: Login) -> None:
    """Else a leaked access token would live for ever."""
    answer = refresh(api, login.answer["access"])

    assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")
