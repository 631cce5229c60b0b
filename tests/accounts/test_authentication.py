"""Requests with an access token."""

from __future__ import annotations

import base64
import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from django.conf import settings
from django.contrib import admin
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import include, path
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_simplejwt.tokens import AccessToken

from backend.accounts.errors import TokenExpired
from backend.accounts.models import Device
from backend.accounts.selectors import DeviceSession
from backend.accounts.services import SEEN_EVERY
from backend.accounts.tokens import read_access
from sync.clock import utc_now
from tests.accounts.endings import ENDINGS

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client
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
    path("api/v1/auth/who", WhoView.as_view()),
    path("admin/", admin.site.urls),
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


def test_token_that_was_good_expires(login: Login) -> None:
    """Its signature is checked once, its age each time."""
    raw = login.answer["access"].encode()
    now = utc_now()
    life = settings.SIMPLE_JWT["ACCESS_TOKEN_LIFETIME"]

    assert read_access(raw, now=now) == read_access(raw, now=now + life - MINUTE)
    with pytest.raises(TokenExpired):
        read_access(raw, now=now + life)


def test_device_is_known_by_its_token_alone(client: Client, login: Login) -> None:
    """Sessions are for browsers: a cookie beside the token is not looked at, nor is one given."""
    client.force_login(login.user)

    answer = client.get("/api/v1/auth/who", headers=login.bearer)
    refused = client.get("/api/v1/auth/who", headers={"Authorization": "Bearer garbage"})

    assert (answer.status_code, refused.status_code) == (200, 401)
    assert not hasattr(answer.wsgi_request, "session")


def test_browser_with_a_token_has_its_session(client: Client, login: Login) -> None:
    """Only the API is asked by devices: elsewhere a token says nothing, and takes nothing away."""
    login.user.is_staff = login.user.is_superuser = True
    login.user.save()
    nobody = client.get("/admin/", headers=login.bearer)
    client.force_login(login.user)
    somebody = client.get("/admin/", headers=login.bearer)

    assert (nobody.status_code, somebody.status_code) == (302, 200)


@pytest.mark.parametrize(
    ("accept", "query", "status"),
    [
        (None,                         "",             200),
        ("*/*",                        "",             200),
        ("application/json",           "",             200),
        ("application/json;q=0.9",     "",             200),
        ("text/html, */*;q=0.1",       "",             200),
        ("text/html",                  "",             406),
        ("*/*",                        "?format=json", 200),
        ("*/*",                        "?format=xml",  404),
    ],
)  # fmt: skip
def test_answer_has_a_form_that_was_asked_for(
    api: APIClient, login: Login, accept: str | None, query: str, status: int
) -> None:
    """What is plain is decided at once, the rest as ever."""
    headers = login.bearer | ({} if accept is None else {"Accept": accept})

    answer = api.get(f"/who{query}", headers=headers)

    assert answer.status_code == status


def test_request_without_token_is_told_to_log_in(api: APIClient) -> None:
    """401 and not 403: it is what makes an app show its login page."""
    answer = api.get("/who")

    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")
    assert answer["WWW-Authenticate"] == 'Bearer realm="api"'


def _seen_ago(login: Login, ago: dt.timedelta) -> dt.datetime:
    at = utc_now() - ago
    Device.objects.filter(pk=login.device.pk).update(last_seen_at=at)
    return at


def test_device_is_noted_now_and_then(api: APIClient, login: Login) -> None:
    """Hearing from a device must not cost a write for every request."""
    before = _seen_ago(login, SEEN_EVERY + MINUTE)

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
    _seen_ago(login, SEEN_EVERY + MINUTE)

    answer = ask(api, login.answer["access"], **{"X-Client-Time": "half past nine"})

    assert answer.status_code == 200
    assert Device.objects.get().clock_skew_ms is None
