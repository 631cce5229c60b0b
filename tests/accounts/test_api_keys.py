"""API keys: made by admins, bound to a tenant and to collections, worthless once revoked."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any
from uuid import UUID

import pytest
from rest_framework.test import APIClient

from backend.accounts.models import ApiKey, Role, Tenant
from sync import local_edits
from sync.clock import utc_now
from sync.models import ChangeRow, Receipt
from tests.phones import PULL, PUSH, Phone, World, canaries, create, new_id, update

KEYS = "/api/v1/auth/keys/"
ORDERS = "/api/v1/work-orders/"
READER = {"name": "dashboard", "reads": ["work_orders", "sites"]}
WRITER = {"name": "erp", "reads": ["sites"], "writes": ["work_orders"]}


@pytest.fixture
def ada(wales_world: World) -> Phone:
    return wales_world.hire(Role.ADMIN)


def make_key(admin: Phone, **body: Any) -> dict[str, Any]:
    answer = admin.send("POST", KEYS, body)
    assert answer.status_code == 201, answer.content
    assert answer["Cache-Control"] == "no-store"
    made: dict[str, Any] = answer.json()
    return made


def ask(key: str, method: str, url: str, body: Any = None, **headers: str) -> Any:
    client: Any = APIClient(raise_request_exception=False)
    raw = b"" if body is None else json.dumps(body).encode()
    return client.generic(
        method, url, raw, content_type="application/json",
        headers={"Authorization": f"Api-Key {key}", **headers},
    )  # fmt: skip


def push(key: str, *mutations: dict[str, Any], idempotency: str | None = None) -> Any:
    body = {"policy": "per_row", "mutations": list(mutations)}
    return ask(key, "POST", PUSH, body, **{"Idempotency-Key": idempotency or new_id()})


def order_in(world: World) -> str:
    row_id = new_id()
    edit = local_edits.create("work_orders", world.order(), row_id)
    local_edits.apply(world.tenant.pk, [edit])
    return row_id


def test_key_is_told_once_and_kept_as_a_hash(ada: Phone) -> None:
    made = make_key(ada, **READER)

    text = made["key"]
    assert text.startswith(f"fsk_{made['prefix']}.")
    secret = text.partition(".")[2]
    stored = ApiKey.objects.get(pk=made["id"])
    assert secret.encode() not in bytes(stored.hash)
    for answer in (ada.send("GET", KEYS), ada.send("GET", f"{KEYS}{made['id']}/")):
        assert answer.status_code == 200
        assert secret not in answer.content.decode()
        assert made["prefix"] in answer.content.decode()


@pytest.mark.parametrize("role", [role for role in Role.values if role != Role.ADMIN])
def test_only_admins_manage_keys(wales_world: World, ada: Phone, role: str) -> None:
    made = make_key(ada, **READER)
    other = wales_world.hire(role)

    for method, url in (
        ("GET", KEYS), ("POST", KEYS), ("GET", f"{KEYS}{made['id']}/"),
        ("POST", f"{KEYS}{made['id']}/revoke/"),
    ):  # fmt: skip
        assert other.send(method, url, READER).status_code == 403
    assert ask(made["key"], "GET", KEYS).status_code == 403, "keys make no keys"


def test_key_of_another_tenant_is_missing(ada: Phone, northwind_world: World) -> None:
    made = make_key(ada, **READER)
    nina = northwind_world.hire(Role.ADMIN)

    assert nina.send("GET", KEYS).json()["results"] == []
    for answer in (
        nina.send("GET", f"{KEYS}{made['id']}/"),
        nina.send("POST", f"{KEYS}{made['id']}/revoke/"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "api_key_not_found")
    assert ask(made["key"], "GET", ORDERS).status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "x", "reads": []}, "reads"),
        ({"name": "x", "reads": ["planets"]}, "reads.0"),
        ({"name": "", "reads": ["sites"]}, "name"),
        ({"name": "x", "reads": ["sites"], "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "x", "reads": ["sites"], "writes": "sites"}, "writes"),
    ],
)
def test_key_that_makes_no_sense_is_refused(ada: Phone, body: Any, field: str) -> None:
    answer = ada.send("POST", KEYS, body)

    assert answer.status_code == 400
    assert field in [error["path"] for error in answer.json()["errors"]]
    assert not ApiKey.objects.exists()


def test_reader_reads_its_collections_and_nothing_else(wales_world: World, ada: Phone) -> None:
    order = order_in(wales_world)
    key = make_key(ada, **READER)["key"]

    assert [row["id"] for row in ask(key, "GET", ORDERS).json()["results"]] == [order]
    assert ask(key, "GET", f"{ORDERS}{order}/").status_code == 200
    assert ask(key, "GET", "/api/v1/assets/").status_code == 403
    pulled = ask(key, "GET", PULL).json()
    assert {change["collection"] for change in pulled["changes"]} == {"work_orders", "sites"}
    assert ask(key, "GET", f"{PULL}?collections=territories").status_code == 400
    digest = ask(key, "GET", "/api/v1/sync/digest").json()
    assert set(digest["collections"]) == {"work_orders", "sites"}
    rows = "/api/v1/sync/rows?bucket=1&collection="
    assert ask(key, "GET", f"{rows}sites").status_code == 200
    assert ask(key, "GET", f"{rows}territories").status_code == 400


def test_reader_is_refused_every_write(wales_world: World, ada: Phone) -> None:
    order = order_in(wales_world)
    key = make_key(ada, **READER)["key"]

    for method, url, body in (
        ("POST", ORDERS, wales_world.order()),
        ("PATCH", f"{ORDERS}{order}/", {"title": "x"}),
        ("DELETE", f"{ORDERS}{order}/", None),
        ("POST", f"{ORDERS}{order}/cancel/", {}),
        ("POST", "/api/v1/work-orders/bulk/", [{"id": new_id(), **wales_world.order()}]),
    ):
        answer = ask(key, method, url, body, **{"If-Match": "*", "Idempotency-Key": new_id()})
        assert answer.status_code == 403, (method, url)
    (line,) = push(key, update("work_orders", order, 1, title="x")).json()["results"]
    assert (line["outcome"], line["code"]) == ("forbidden", "collection_forbidden")
    assert ChangeRow.objects.get(row_id=order).version == 1


def test_writer_writes_its_collections_under_its_own_name(wales_world: World, ada: Phone) -> None:
    made = make_key(ada, **WRITER)
    assert made["reads"] == ["sites", "work_orders"], "who may write may read"
    row_id, idempotency = new_id(), new_id()
    order = create("work_orders", row_id, **wales_world.order())

    first = push(made["key"], order, idempotency=idempotency)
    again = push(made["key"], order, idempotency=idempotency)

    assert first.json()["results"][0]["outcome"] == "created", first.content
    assert again["Idempotency-Replayed"] == "true"
    assert again.content == first.content
    holder = Receipt.objects.values_list("holder_id", flat=True).get(key=idempotency)
    assert holder == UUID(made["id"])
    (line,) = push(made["key"], create("territories", name="Barry")).json()["results"]
    assert line["outcome"] == "forbidden"
    tess = wales_world.hire()
    tess.pull()
    assert tess.version("work_orders", row_id) == 1


def test_keys_of_two_integrations_do_not_share_receipts(wales_world: World, ada: Phone) -> None:
    one, other = make_key(ada, **WRITER), make_key(ada, **WRITER)
    idempotency = new_id()

    for key in (one, other):
        order = create("work_orders", **wales_world.order())
        assert push(key["key"], order, idempotency=idempotency).status_code == 200


def test_key_never_leaves_its_tenant(
    wales_world: World, northwind_world: World, ada: Phone
) -> None:
    key = make_key(ada, name="all", reads=["work_orders", "sites", "territories"])["key"]
    foreign = order_in(northwind_world)

    for url in (ORDERS, PULL, "/api/v1/sites/", f"{ORDERS}{foreign}/"):
        answer = ask(key, "GET", url)
        assert canaries[northwind_world.tenant.pk].encode() not in answer.content
    assert ask(key, "GET", f"{ORDERS}{foreign}/").status_code == 404


@pytest.mark.parametrize(
    "text", ["", "fsk_", "fsk_{prefix}", "fsk_{prefix}.", "fsk_{prefix}.x", "é"]
)
def test_wrong_key_is_refused_alike(ada: Phone, text: str) -> None:
    prefix = make_key(ada, **READER)["prefix"]

    answer = ask(text.format(prefix=prefix), "GET", ORDERS)

    assert (answer.status_code, answer.json()["code"]) == (401, "api_key_invalid")


def test_key_is_over_when_revoked_expired_or_its_tenant_closed(ada: Phone) -> None:
    revoked, expired, closed = (make_key(ada, **READER) for _ in range(3))
    for _ in range(2):
        answer = ada.send("POST", f"{KEYS}{revoked['id']}/revoke/")
        assert answer.json()["revoked_at"]
    past = utc_now() - dt.timedelta(seconds=1)
    ApiKey.objects.filter(pk=expired["id"]).update(expires_at=past)

    assert ask(revoked["key"], "GET", ORDERS).json()["code"] == "api_key_revoked"
    assert ask(expired["key"], "GET", ORDERS).json()["code"] == "api_key_expired"
    assert ask(closed["key"], "GET", ORDERS).status_code == 200
    Tenant.objects.update(is_active=False)
    assert ask(closed["key"], "GET", ORDERS).json()["code"] == "tenant_inactive"


def test_use_is_noted_now_and_then(ada: Phone, django_assert_num_queries: Any) -> None:
    made = make_key(ada, **READER)
    ask(made["key"], "GET", "/api/v1/sync/limits")
    first = ApiKey.objects.get(pk=made["id"]).last_used_at
    assert first is not None

    with django_assert_num_queries(1):
        ask(made["key"], "GET", "/api/v1/sync/limits")

    assert ApiKey.objects.get(pk=made["id"]).last_used_at == first
    ApiKey.objects.update(last_used_at=first - dt.timedelta(minutes=6))
    ask(made["key"], "GET", "/api/v1/sync/limits")
    later = ApiKey.objects.get(pk=made["id"]).last_used_at
    assert later is not None
    assert later >= first
