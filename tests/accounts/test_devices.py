"""Devices: seen, named and locked out by whose they are, and by admins of the tenant."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from backend.accounts.models import Device, Membership, Role, User
from tests.phones import Phone, World

DEVICES = "/api/v1/auth/devices/"


@pytest.fixture
def people(wales_world: World, northwind_world: World) -> dict[str, Phone]:
    return {
        "tess": wales_world.hire(),
        "dora": wales_world.hire(Role.DISPATCHER),
        "ada": wales_world.hire(Role.ADMIN),
        "nina": northwind_world.hire(Role.ADMIN),
    }


def listed(who: Phone, query: str = "") -> list[dict[str, Any]]:
    answer = who.send("GET", f"{DEVICES}{query}")
    assert answer.status_code == 200, answer.content
    found: list[dict[str, Any]] = answer.json()["results"]
    return found


def test_one_sees_ones_own_and_an_admin_the_tenants(people: dict[str, Phone]) -> None:
    tess, dora, ada = people["tess"], people["dora"], people["ada"]

    assert [row["id"] for row in listed(tess)] == [str(tess.device_id)]
    assert [row["id"] for row in listed(dora)] == [str(dora.device_id)]
    assert {row["id"] for row in listed(ada)} == {
        str(each.device_id) for each in (tess, dora, ada)
    }
    assert [row["user"] for row in listed(ada, f"?user={tess.user_id}")] == [str(tess.user_id)]
    assert listed(tess, f"?user={ada.user_id}") == []
    assert ada.send("GET", f"{DEVICES}?user=x").status_code == 400


def test_foreign_device_is_missing(people: dict[str, Phone]) -> None:
    """Whatever is done to it, and whoever asks."""
    tess, dora, nina = people["tess"], people["dora"], people["nina"]
    address = f"{DEVICES}{tess.device_id}/"

    for who in (dora, nina):
        for method, path, body in (
            ("GET", address, None),
            ("PATCH", address, {"name": "x"}),
            ("POST", f"{address}revoke/", {}),
        ):
            answer = who.send(method, path, body)
            assert (answer.status_code, answer.json()["code"]) == (404, "device_not_found")
    assert Device.objects.get(pk=tess.device_id).revoked_at is None


def test_name_is_all_that_is_anybodys_to_set(people: dict[str, Phone]) -> None:
    tess = people["tess"]
    address = f"{DEVICES}{tess.device_id}/"

    renamed = tess.send("PATCH", address, {"name": "Van 3", "platform": "x", "user": "x"}).json()
    kept = tess.send("PATCH", address, {}).json()
    too_long = tess.send("PATCH", address, {"name": "x" * 101})

    assert (renamed["name"], renamed["platform"], renamed["user"]) == (
        *("Van 3", "test"),
        str(tess.user_id),
    )
    assert kept == renamed
    assert too_long.status_code == 400


@pytest.mark.parametrize("wipe", [False, True])
def test_revoked_device_is_out_at_its_next_request(
    people: dict[str, Phone], *, wipe: bool
) -> None:
    """By its admin, for good; with the hint to wipe if that was wanted."""
    tess, ada = people["tess"], people["ada"]
    address = f"{DEVICES}{tess.device_id}/revoke/"

    revoked = ada.send("POST", address, {"wipe": wipe})
    out = tess.send("GET", "/api/v1/sync/limits")
    again = ada.send("POST", address, {})

    assert revoked.status_code == 200
    assert (out.status_code, out.json()["code"], out.json()["wipe"]) == (
        *(401, "device_revoked"),
        wipe,
    )
    assert again.json()["revoked_at"] == revoked.json()["revoked_at"]
    assert tess.send("GET", "/api/v1/sync/limits").json()["wipe"] is wipe  # again changes nothing


@pytest.mark.parametrize("left", ["user_off", "membership_off", "membership_gone"])
def test_leaver_is_told_to_wipe(people: dict[str, Phone], left: str) -> None:
    """Whatever else has ended by then."""
    tess, ada = people["tess"], people["ada"]
    ada.send("POST", f"{DEVICES}{tess.device_id}/revoke/", {"wipe": True})
    memberships = Membership.objects.filter(user_id=tess.user_id)
    match left:
        case "user_off":
            User.objects.filter(pk=tess.user_id).update(is_active=False)
        case "membership_off":
            memberships.update(is_active=False)
        case _:
            memberships.delete()

    out = tess.send("GET", "/api/v1/sync/limits").json()

    assert (out["code"], out["wipe"]) == ("device_revoked", True)


def test_device_that_is_let_in_again_has_to_log_in(people: dict[str, Phone]) -> None:
    """Its tokens from before are worth nothing, whoever revoked it."""
    tess = people["tess"]
    device = Device.objects.get(pk=tess.device_id)
    device.revoked_at = device.created_at
    device.save()
    device.revoked_at = None
    device.save()

    assert tess.send("GET", "/api/v1/sync/limits").json()["code"] == "login_ended"


def test_office_pages_have_no_device(people: dict[str, Phone], client: Any) -> None:
    """A session of the admin's is no device's: 403, and its writes need a CSRF token."""
    user = User.objects.get(pk=people["ada"].user_id)
    api = APIClient(enforce_csrf_checks=True)
    api.force_login(user)

    assert api.get(DEVICES).status_code == 403
    forged = api.post("/api/v1/work-orders/", {}, format="json")
    assert (forged.status_code, forged.json()["code"]) == (403, "permission_denied")
    assert "CSRF" in forged.json()["detail"]
