"""What is kept under a key, for whom, and what leaves the key free."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from backend.accounts.models import Device, Membership, Tenant, User
from backend.fieldwork.models import WorkOrder
from sync.clock import utc_now
from sync.models import Receipt
from tests.phones import PUSH, Phone, World, create, make_world, update
from tests.scenarios.reading import outcomes, state_of

KEY = "visit-17"
RECEIPT = f"/api/v1/sync/receipts/{KEY}"


def good(world: World) -> dict[str, Any]:
    return {"mutations": [create("work_orders", **world.order())]}


# --- what leaves the key free -----------------------------------------------------------------


def send_half_a_body(phone: Phone, world: World) -> Any:
    return phone.push_raw(b'{"mutations": [', KEY)


def send_without_a_login(phone: Phone, world: World) -> Any:
    token, phone.token = phone.token, "nonsense"
    answer = phone.push_raw(good(world), KEY)
    phone.token = token
    return answer


def send_too_many_rows(phone: Phone, world: World) -> Any:
    rows = [create("work_orders", **world.order()) for _ in range(1_001)]
    return phone.push_raw({"mutations": rows}, KEY)


def send_too_many_bytes(phone: Phone, world: World) -> Any:
    return phone.push_raw(b'{"mutations": [' + b" " * (8 * 1024 * 1024) + b"]}", KEY)


def send_an_unknown_packing(phone: Phone, world: World) -> Any:
    headers = {"Idempotency-Key": KEY, "Content-Encoding": "br"}
    return phone.send("POST", PUSH, good(world), **headers)


def send_something_else_than_json(phone: Phone, world: World) -> Any:
    client: Any = APIClient()
    headers = {"Idempotency-Key": KEY, "Authorization": f"Bearer {phone.token}"}
    return client.generic("POST", PUSH, b"{}", content_type="text/plain", headers=headers)


@pytest.mark.parametrize(
    ("send", "status", "code"),
    [
        (send_half_a_body,              400, "body_malformed"),
        (send_without_a_login,          401, "token_invalid"),
        (send_too_many_rows,            413, "limit_exceeded"),
        (send_too_many_bytes,           413, "limit_exceeded"),
        (send_an_unknown_packing,       415, "content_encoding_unsupported"),
        (send_something_else_than_json, 415, "unsupported_media_type"),
    ],
)  # fmt: skip
def test_request_that_was_not_carried_out_leaves_its_key_free(
    send: Callable[[Phone, World], Any], status: int, code: str, alice: Phone, wales: World
) -> None:
    """A phone that mends or halves its batch, or logs in, gets through with the key that it had."""
    before = state_of(wales)

    refused = send(alice, wales)

    assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert state_of(wales) == before
    assert alice.send("GET", RECEIPT).status_code == 404
    mended = alice.push_raw(good(wales), KEY)
    assert outcomes(mended.json()["results"]) == ["created"]
    assert "Idempotency-Replayed" not in mended


def test_user_who_may_not_push_leaves_the_key_free(wales: World, northwind: World) -> None:
    """403: somebody of two tenants has to say which by logging in; the key waits till then."""
    user = User.objects.create(username="of both")
    for world in (wales, northwind):
        Membership.objects.create(tenant=world.tenant, user=user, role="dispatcher")
    page: Any = APIClient()
    page.force_authenticate(user)

    def push() -> Any:
        return page.post(PUSH, good(wales), format="json", headers={"Idempotency-Key": KEY})

    refused = push()
    receipts = Receipt.objects.count()
    Membership.objects.filter(tenant=northwind.tenant).update(is_active=False)

    assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")
    assert receipts == 0
    assert outcomes(push().json()["results"]) == ["created"]


def test_rehearsal_leaves_its_key_free(alice: Phone, wales: World) -> None:
    """An app may rehearse a batch under the key that it will send it with, before and after."""
    body = good(wales)

    rehearsed = alice.push_raw({**body, "validate_only": True}, KEY)
    pushed = alice.push_raw(body, KEY)
    again = alice.push_raw({**body, "validate_only": True}, KEY)

    assert [outcomes(a.json()["results"]) for a in (rehearsed, pushed, again)] == [
        ["created"], ["created"], ["unchanged"],
    ]  # fmt: skip
    assert not any("Idempotency-Replayed" in a for a in (rehearsed, pushed, again))


# --- what is kept -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edit", "policy", "status"),
    [
        ({"priority": 1}, "per_row", 200),
        ({"priority": 9}, "per_row", 200),
        ({"priority": 9}, "all_or_nothing", 422),
        ({"title": "late"}, "all_or_nothing", 409),
    ],
)
def test_answer_is_kept_though_the_world_goes_on(
    edit: dict[str, Any], policy: str, status: int, alice: Phone, dora: Phone, wales: World
) -> None:
    """Applied, refused or in conflict: the key's first answer stays its answer."""
    order = create("work_orders", **wales.order())
    alice.push(order, update("work_orders", order["id"], 1, title=f"{wales.canary} theirs"))
    body = {"policy": policy, "mutations": [update("work_orders", order["id"], 1, **edit)]}
    first = alice.push_raw(body, KEY)
    version = WorkOrder.objects.get(pk=order["id"]).version
    dora.push({"op": "delete", "collection": "work_orders", "id": order["id"],
               "base_version": version})  # fmt: skip
    before = state_of(wales)

    again = alice.push_raw(body, KEY)

    assert first.status_code == again.status_code == status
    assert again.content == first.content == alice.send("GET", RECEIPT).content
    assert again["Idempotency-Replayed"] == "true"
    assert state_of(wales) == before


def test_wrong_use_of_a_key_does_not_cost_its_answer(alice: Phone, wales: World) -> None:
    """A bug that sends other bytes must not take the receipt of the first ones away."""
    body = good(wales)
    first = alice.push_raw(body, KEY)

    assert alice.push_raw(good(wales), KEY).json()["code"] == "idempotency_key_reused"

    assert alice.push_raw(body, KEY).content == first.content


# --- for whom ---------------------------------------------------------------------------------


def revoke_device(phone: Phone, *, is_over: bool) -> None:
    revoked_at = utc_now() if is_over else None
    Device.objects.filter(pk=phone.device_id).update(revoked_at=revoked_at)


def suspend_tenant(phone: Phone, *, is_over: bool) -> None:
    Tenant.objects.filter(pk=phone.tenant_id).update(is_active=not is_over)


def deactivate_user(phone: Phone, *, is_over: bool) -> None:
    User.objects.filter(pk=phone.user_id).update(is_active=not is_over)


def end_membership(phone: Phone, *, is_over: bool) -> None:
    Membership.objects.filter(user_id=phone.user_id).update(is_active=not is_over)


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (revoke_device, "device_revoked"),
        (suspend_tenant, "tenant_inactive"),
        (deactivate_user, "user_inactive"),
        (end_membership, "membership_inactive"),
    ],
)
def test_known_key_opens_no_door(
    end: Callable[..., None], code: str, alice: Phone, wales: World
) -> None:
    """Who asks is looked at before the receipt: a thief with old requests gets no old answers."""
    body = good(wales)
    first = alice.push_raw(body, KEY)

    end(alice, is_over=True)
    refused = [alice.push_raw(body, KEY), alice.send("GET", RECEIPT)]
    end(alice, is_over=False)

    for answer in refused:
        assert (answer.status_code, answer.json()["code"]) == (401, code)
        assert "results" not in answer.json()
        assert "Idempotency-Replayed" not in answer
    assert alice.push_raw(body, KEY).content == first.content


def test_key_belongs_to_the_device_whatever_app_is_on_it(wales: World) -> None:
    """Through a refresh, an upgrade and a new login on one install there is one key space."""
    alice = wales.hire()
    user = User.objects.get(pk=alice.user_id)
    user.set_password("to-cardiff-and-back")
    user.save()
    body = good(wales)

    def log_in(app_version: str) -> dict[str, Any]:
        device = {"install_id": "phone", "platform": "test", "app_version": app_version}
        login = {"username": user.username, "password": "to-cardiff-and-back", "device": device}
        tokens: dict[str, Any] = alice.send("POST", "/api/v1/auth/token", login).json()
        return tokens

    first = alice.push_raw(body, KEY)
    refresh = log_in("1")["refresh"]
    answers = []
    alice.token = alice.send("POST", "/api/v1/auth/refresh", {"refresh": refresh}).json()["access"]
    answers.append(alice.push_raw(body, KEY))
    alice.token = log_in("2.0-beta")["access"]
    answers.append(alice.push_raw(body, KEY))

    assert {answer.content for answer in answers} == {first.content}
    assert all(answer["Idempotency-Replayed"] == "true" for answer in answers)
    holders = Receipt.objects.filter(tenant_id=wales.tenant.pk).values_list("holder_id", flat=True)
    assert list(holders) == [alice.device_id]
    assert Device.objects.get(pk=alice.device_id).app_version == "2.0-beta"


def test_one_person_in_two_tenants_has_two_key_spaces(wales: World) -> None:
    """A contractor with one phone for two customers: neither batch is taken for the other."""
    northwind, alice = make_world(f"n-{uuid.uuid4().hex[:8]}"), wales.hire()
    user = User.objects.get(pk=alice.user_id)
    Membership.objects.create(
        tenant=northwind.tenant, user=user, role="technician",
        territories=[uuid.UUID(northwind.cardiff)],
    )  # fmt: skip
    there = northwind.phone_of(user)

    here_answer = alice.push_raw(good(wales), KEY)
    there_answer = there.push_raw(good(northwind), KEY)

    assert here_answer.json()["status"] == there_answer.json()["status"] == "ok"
    assert "Idempotency-Replayed" not in there_answer
