"""Logging in on a device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher

from backend.accounts.models import Device, Membership, Role, Tenant, User
from sync.clock import utc_now
from tests.accounts.conftest import INSTALL, PASSWORD, post_login

if TYPE_CHECKING:
    from collections.abc import Callable

    from rest_framework.test import APIClient


def test_login_answers_tokens_and_who_logged_in_where(
    api: APIClient, tess: User, wales: Tenant
) -> None:
    """The shape that the SDK and the guides rely on."""
    answer = post_login(api)

    body = answer.json()
    device = Device.objects.get()
    assert answer.status_code == 200
    assert sorted(body) == ["access", "device", "refresh", "tenant", "user"]
    assert body["device"] == {"id": str(device.pk)}
    assert body["user"] == {"id": str(tess.pk), "role": "technician"}
    assert body["tenant"] == {"id": str(wales.pk), "slug": "wales"}
    assert (device.install_id, device.platform, device.app_version) == (
        "phone-1",
        "android",
        "1.0",
    )
    assert (device.user, device.tenant) == (tess, wales)


def test_second_login_on_a_phone_updates_its_device(api: APIClient, tess: User) -> None:
    """An app update must not make a second device, whose keys and cursor start from nothing."""
    first = post_login(api).json()

    second = post_login(api, device={**INSTALL, "app_version": "2.0"}).json()
    other = post_login(api, device={**INSTALL, "install_id": "phone-2"}).json()

    assert second["device"] == first["device"] != other["device"]
    assert Device.objects.get(pk=second["device"]["id"]).app_version == "2.0"
    assert Device.objects.count() == 2


def _is_unknown(tess: User) -> dict[str, Any]:
    return {"username": "nobody"}


def _has_wrong_password(tess: User) -> dict[str, Any]:
    return {"password": "wrong"}


def _is_deactivated(tess: User) -> dict[str, Any]:
    User.objects.update(is_active=False)
    return {}


def _is_member_of_nothing(tess: User) -> dict[str, Any]:
    Membership.objects.all().delete()
    return {}


def _has_ended_membership(tess: User) -> dict[str, Any]:
    Membership.objects.update(is_active=False)
    return {}


def _is_in_closed_tenant(tess: User) -> dict[str, Any]:
    Tenant.objects.update(is_active=False)
    return {}


def _names_foreign_tenant(tess: User) -> dict[str, Any]:
    Tenant.objects.create(slug="northwind", name="Northwind")
    return {"tenant": "northwind"}


def _names_unknown_tenant(tess: User) -> dict[str, Any]:
    return {"tenant": "nowhere"}


CAUSES = (
    _is_unknown,
    _has_wrong_password,
    _is_deactivated,
    _is_member_of_nothing,
    _has_ended_membership,
    _is_in_closed_tenant,
    _names_foreign_tenant,
    _names_unknown_tenant,
)


@pytest.mark.parametrize("cause", CAUSES)
def test_failed_login_does_not_say_why(
    api: APIClient,
    tess: User,
    cause: Callable[[User], dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who tries names learns neither from the words nor from the work which of them exist."""
    over = cause(tess)
    hashed: list[str] = []
    encode = MD5PasswordHasher.encode

    def counting(self: MD5PasswordHasher, password: str, salt: str) -> str:
        hashed.append(password)
        return encode(self, password, salt)

    monkeypatch.setattr(MD5PasswordHasher, "encode", counting)

    answer = post_login(api, **over)

    body = answer.json()
    del body["request_id"]
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == 'Bearer realm="api"'
    assert body == {
        "type": "/errors/invalid_credentials",
        "title": "Logging in failed",
        "status": 401,
        "detail": "The username, the password or the tenant is wrong.",
        "code": "invalid_credentials",
        "errors": [],
    }
    assert len(hashed) == 1
    assert not Device.objects.exists()


def test_member_of_several_tenants_is_asked_which(
    api: APIClient, tess: User, northwind: Tenant
) -> None:
    """Guessing would show one customer's rows to somebody who came for another's."""
    Membership.objects.create(user=tess, tenant=northwind, role=Role.AUDITOR)

    unsaid = post_login(api)
    said = post_login(api, tenant="northwind")

    assert unsaid.status_code == 400
    assert unsaid.json()["code"] == "tenant_required"
    assert unsaid.json()["tenants"] == ["northwind", "wales"]
    assert said.status_code == 200
    assert said.json()["tenant"]["slug"] == "northwind"
    assert said.json()["user"]["role"] == "auditor"


def test_a_closed_tenant_is_none_to_choose_from(
    api: APIClient, tess: User, northwind: Tenant
) -> None:
    """One open membership is enough to know where to go."""
    Membership.objects.create(user=tess, tenant=northwind, role=Role.AUDITOR)
    Tenant.objects.filter(slug="northwind").update(is_active=False)

    answer = post_login(api)

    assert answer.json()["tenant"]["slug"] == "wales"


def test_revoked_phone_cannot_log_in_again(api: APIClient, tess: User) -> None:
    """The thief of a phone often knows its password too; only the office lets it in again."""
    post_login(api)
    Device.objects.update(revoked_at=utc_now())

    answer = post_login(api, device={**INSTALL, "app_version": "9.9"})

    assert answer.status_code == 401
    assert answer.json()["code"] == "device_revoked"
    assert Device.objects.get().app_version == "1.0"


def test_an_old_token_does_not_bar_the_way_to_a_new_one(api: APIClient, tess: User) -> None:
    """HTTP clients send their last token with every request, also with the login."""
    api.credentials(HTTP_AUTHORIZATION="Bearer worn.out.token")

    answer = post_login(api)

    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("over", "path", "code"),
    [
        ({"username": None},                             "username",          "null"),
        ({"password": "x" * 257},                        "password",          "max_length"),
        ({"password": "a\0b"},                           "password",          "null_characters_not_allowed"),
        ({"device": {"install_id": "x"}},                "device.platform",   "required"),
        ({"device": {**INSTALL, "install_id": "x" * 65}}, "device.install_id", "max_length"),
        ({"device": None},                               "device",            "null"),
    ],
)  # fmt: skip
def test_malformed_login_names_what_is_wrong(
    api: APIClient, over: dict[str, Any], path: str, code: str
) -> None:
    """A mobile developer reads the path and the code, and needs no database to be told."""
    answer = post_login(api, **over)

    assert answer.status_code == 400
    assert answer.json()["code"] == "validation_failed"
    assert (path, code) in [(error["path"], error["code"]) for error in answer.json()["errors"]]


def test_password_keeps_its_spaces(api: APIClient, tess: User) -> None:
    """A password is bytes, not a name: nothing is trimmed from it."""
    answer = post_login(api, password=f" {PASSWORD} ")

    assert answer.json()["code"] == "invalid_credentials"


@pytest.mark.parametrize(
    ("method", "body", "content_type", "status", "code"),
    [
        ("get",  b"",                              "application/json", 405, "method_not_allowed"),
        ("post", b"{",                             "application/json", 400, "body_malformed"),
        ("post", b"[" * 100_000,                   "application/json", 400, "body_malformed"),
        ("post", b"\xff",                          "application/json", 400, "body_malformed"),
        ("post", b"[]",                            "application/json", 400, "validation_failed"),
        ("post", b'"' + b"x" * 9_000_000 + b'"',   "application/json", 413, "limit_exceeded"),
        ("post", b"username=tess",                 "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
    ],
)  # fmt: skip
def test_strange_login_is_a_document(
    api: APIClient, method: str, body: bytes, content_type: str, status: int, code: str
) -> None:
    """The door stands open to anybody: nothing that is thrown at it may be a fault of ours."""
    answer = getattr(api, method)("/api/v1/auth/token", body, content_type=content_type)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer["Content-Type"] == "application/problem+json"
    assert answer["Allow"] == "POST, OPTIONS"
