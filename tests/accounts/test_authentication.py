"""Requests with an access token."""

from __future__ import annotations

import base64
import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import include, path
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_simplejwt.tokens import AccessToken

from backend.accounts.models import Device
from backend.accounts.selectors import DeviceSession
from sync.clock import utc_now
from tests.accounts.endings import ENDINGS

if TYPE_CHECKING:
    from collections.abc import Callable

    from rest_framework.request import Request
    from rest_framework.test import APIClient

    from backend.accounts.models import Tenant
    from tests.accounts.conftest import Login

pytestmark = pytest.mark.urls(__name__)
MINUTE = dt.timedelta(minutes=1)


class WhoView(APIView):
    """Says who the request comes from."""

    def get(self, request: Request) -> Response:
        """Answer the session's ids."""
        session = request.auth
        assert isinstance(session, DeviceSession)
        ids = (request.user.pk, session.tenant_id, session.membership.pk, session.device.pk)
        return Response([str(each) for each in ids])


urlpatterns = [
    path("who", WhoView.as_view()),
    path("api/v1/auth/", include("backend.accounts.urls")),
]


def ask(api: APIClient, token: str, **headers: str) -> Any:
    """Ask who we are, with `token`."""
    return api.get("/who", headers={"Authorization": f"Bearer {token}", **headers})


def test_request_knows_user_tenant_membership_and_device(api: APIClient, login: Login) -> None:
    """All of them from the database, in one query: it is paid for by every request."""
    with CaptureQueriesContext(
        connection,
    ) as queries:
        answer = ask(api, login.answer["access"])

    assert answer.json() == [
        str(login.user.pk),
        str(login.tenant.pk),
        str(login.membership.pk),
        str(login.device.pk),
    ]
    assert len(queries) == 1


@pytest.mark.parametrize("ending", ENDINGS)
def test_ended_login_is_out_at_the_next_request(api: APIClient, login: Login, ending: str) -> None:
    """A stolen phone must not work on until its token expires; the app hears why."""
    end, code = ENDINGS[ending]
    end(login)

    answer = ask(api, login.answer["access"])

    assert (answer.status_code, answer.json()["code"]) == (401, code)
    assert answer["WWW-Authenticate"] == 'Bearer realm="api"'


def test_membership_of_another_tenant_is_of_no_use(
    api: APIClient, login: Login, northwind: Tenant
) -> None:
    """A device belongs to one tenant, also when its user joins a second."""
    login.user.memberships.create(tenant=northwind, role="admin")
    token = AccessToken(login.answer["access"])
    token["tenant"] = str(northwind.pk)

    answer = ask(api, str(token))

    assert (answer.status_code, answer.json()["code"]) == (401, "device_revoked")


def _signed(login: Login, key: str = "", **over: Any) -> str:
    claims = {**AccessToken(login.answer["access"]).payload, **over}
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(kept, key or settings.SECRET_KEY, "HS256")


def _unsigned(login: Login) -> str:
    claims = AccessToken(login.answer["access"]).payload
    parts = [{"alg": "none", "typ": "JWT"}, claims]
    coded = [base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=").decode() for p in parts]
    return ".".join([*coded, ""])


BAD_TOKENS: dict[str, tuple[Callable[[Login], str], str]] = {
    "garbage":            (lambda _: "garbage",                                      "token_invalid"),
    "two words":          (lambda _: "a b",                                          "token_invalid"),
    "not ascii":          (lambda _: "ä.ö.ü",                                        "token_invalid"),
    "refresh token":      (lambda login: login.answer["refresh"],                    "token_invalid"),
    "unsigned":           (_unsigned,                                                "token_invalid"),
    "foreign key":        (lambda login: _signed(login, key="0" * 64),               "token_invalid"),
    "no user":            (lambda login: _signed(login, user_id=None),               "token_invalid"),
    "no tenant":          (lambda login: _signed(login, tenant=None),                "token_invalid"),
    "no device":          (lambda login: _signed(login, device=None),                "token_invalid"),
    "device is no uuid":  (lambda login: _signed(login, device="7"),                 "token_invalid"),
    "tenant is a number": (lambda login: _signed(login, tenant=7),                   "token_invalid"),
    "expired":            (lambda login: _signed(login, exp=1_500_000_000),          "token_expired"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_TOKENS)
def test_bad_token_is_nobodys(api: APIClient, login: Login, case: str) -> None:
    """The app refreshes an expired token, and asks for a login after anything else."""
    make, code = BAD_TOKENS[case]

    answer = ask(api, make(login))

    assert (answer.status_code, answer.json()["code"]) == (401, code)
    assert answer["WWW-Authenticate"] == 'Bearer realm="api"'


def test_request_without_token_is_told_to_log_in(api: APIClient) -> None:
    """401 and not 403: it is what makes an app show its login page."""
    answer = api.get("/who")

    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")
    assert answer["WWW-Authenticate"] == 'Bearer realm="api"'


def _seen_ago(login: Login, ago: dt.timedelta) -> dt.datetime:
    at = utc_now() - ago
    Device.objects.filter(pk=login.device.pk).update(last_seen_at=at)
    return at


def test_device_is_noted_once_a_minute(api: APIClient, login: Login) -> None:
    """Hearing from a device must not cost a write for every request."""
    before = _seen_ago(login, 2 * MINUTE)

    with CaptureQueriesContext(connection) as first:
        ask(api, login.answer["access"], **{"X-Client-Time": "2000-01-01T00:00:00Z"})
    with CaptureQueriesContext(connection) as second:
        ask(api, login.answer["access"], **{"X-Client-Time": "2030-01-01T00:00:00Z"})

    device = Device.objects.get()
    assert (len(first), len(second)) == (2, 1)
    assert device.last_seen_at > before
    assert device.clock_skew_ms is not None
    assert device.clock_skew_ms < -20 * 365 * 24 * 3_600_000


def test_strange_clock_changes_nothing(api: APIClient, login: Login) -> None:
    """A header that cannot be read is no reason to refuse anybody's work."""
    _seen_ago(login, 2 * MINUTE)

    answer = ask(api, login.answer["access"], **{"X-Client-Time": "half past nine"})

    assert answer.status_code == 200
    assert Device.objects.get().clock_skew_ms is None
