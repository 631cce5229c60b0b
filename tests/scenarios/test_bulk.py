"""The bulk endpoints: a plain list of rows is the push with the collection filled in."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from backend.fieldwork.models import WorkOrder
from tests.phones import Phone, World, create, new_id
from tests.scenarios.reading import outcomes, state_of

ORDERS = "/api/v1/work-orders/bulk/"


def send(
    phone: Phone,
    method: str,
    rows: Any,
    query: str = "",
    key: str | None = None,
    url: str = ORDERS,
) -> Any:
    headers = {} if key == "" else {"Idempotency-Key": key or str(uuid.uuid4())}
    return phone.send(method, f"{url}{query}", rows, **headers)


def rows_of(world: World, count: int = 3) -> list[dict[str, Any]]:
    return [{"id": new_id(), **world.order()} for _ in range(count)]


def test_rows_are_created_edited_and_deleted(dora: Phone, wales: World) -> None:
    """Three requests; each answers the report of a push, and phones hear of all of it."""
    rows = rows_of(wales)

    created = send(dora, "POST", rows).json()
    edits = [{"id": row["id"], "base_version": 1, "priority": 1} for row in rows]
    updated = send(dora, "PATCH", edits).json()
    ends = [{"id": row["id"], "base_version": 2} for row in rows[1:]]
    deleted = send(dora, "DELETE", ends).json()

    assert (created["status"], updated["status"], deleted["status"]) == ("ok", "ok", "ok")
    assert outcomes(updated["results"]) == ["updated"] * 3
    assert [(r["collection"], r["id"]) for r in deleted["results"]] == [
        ("work_orders", row["id"]) for row in rows[1:]
    ]
    dora.pull()
    assert dora.row("work_orders", rows[0]["id"])["priority"] == 1
    assert ("work_orders", rows[1]["id"]) not in dora.rows


@pytest.mark.parametrize(
    ("query", "expected", "status"),
    [
        ("", ["not_applied", "invalid", "not_applied"], 422),
        ("?policy=all_or_nothing", ["not_applied", "invalid", "not_applied"], 422),
        ("?policy=per_row", ["created", "invalid", "created"], 200),
    ],
)
def test_both_policies(
    query: str, expected: list[str], status: int, alice: Phone, wales: World
) -> None:
    """All or nothing unless the address says otherwise."""
    rows = rows_of(wales)
    rows[1]["priority"] = 9

    answer = send(alice, "POST", rows, query)

    assert (answer.status_code, outcomes(answer.json()["results"])) == (status, expected)
    assert WorkOrder.objects.filter(tenant_id=wales.tenant.pk).count() == expected.count("created")


def test_report_is_that_of_a_push(alice: Phone, bob: Phone, wales: World) -> None:
    """To the byte, but for the time: an app may use either."""
    rows = rows_of(wales)
    rows[1]["priority"] = 9
    pushed = alice.push_raw(
        {
            "policy": "per_row",
            "mutations": [
                create("work_orders", row["id"], **{k: v for k, v in row.items() if k != "id"})
                for row in rows
            ],
        }
    ).json()
    for row in rows:
        row["id"] = new_id()

    sent = send(bob, "POST", rows, "?policy=per_row").json()

    for line, row in zip(pushed["results"], rows, strict=True):
        line["id"] = row["id"]
    assert {**sent, "server_time": ""} == {**pushed, "server_time": ""}


def test_resent_list_is_answered_again(alice: Phone, wales: World) -> None:
    """The same key and bytes: the same answer, and nothing happens twice."""
    rows = rows_of(wales)
    first = send(alice, "POST", rows, key="k")
    before = state_of(wales)

    again = send(alice, "POST", rows, key="k")

    assert again.content == first.content
    assert again["Idempotency-Replayed"] == "true"
    assert alice.send("GET", "/api/v1/sync/receipts/k").content == first.content
    assert state_of(wales) == before


@pytest.mark.parametrize(
    ("method", "query"), [("POST", "?policy=per_row"), ("PATCH", ""), ("DELETE", "")]
)
def test_same_key_for_another_request_is_refused(
    method: str, query: str, alice: Phone, wales: World
) -> None:
    """Another method or policy is another request, though the bytes are the same."""
    rows = [{"id": new_id(), "base_version": 1}]
    send(alice, "POST", rows, key="k")

    answer = send(alice, method, rows, query, key="k")

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")


def test_dry_run_writes_nothing_and_needs_no_key(alice: Phone, wales: World) -> None:
    """A form can be checked before it is sent."""
    before = state_of(wales)

    report = send(alice, "POST", rows_of(wales), "?validate_only=true", key="").json()

    assert outcomes(report["results"]) == ["created"] * 3
    assert state_of(wales) == before


@pytest.mark.parametrize(
    ("method", "rows", "query", "key", "status", "code"),
    [
        ("POST", {"id": "x"}, "", "k", 400, "body_malformed"),
        ("POST", [1], "", "k", 400, "body_malformed"),
        ("POST", [{"title": "x"}], "", "k", 400, "body_malformed"),
        ("PATCH", [{"id": "x", "base_version": "1"}], "", "k", 400, "body_malformed"),
        ("DELETE", [{"id": "x", "base_version": 1, "title": "x"}], "", "k", 400, "body_malformed"),
        ("POST", b'[{"id": "1", "id": "2"}]', "", "k", 400, "body_malformed"),
        ("POST", [], "", "", 400, "idempotency_key_required"),
        ("POST", [], "?policy=some", "k", 400, "parameter_invalid"),
        ("POST", [], "?validate_only=1", "k", 400, "parameter_invalid"),
        ("POST", [{"id": "x"}] * 1_001, "", "k", 413, "limit_exceeded"),
        ("PUT", [], "", "k", 405, "method_not_allowed"),
        ("GET", None, "", "k", 405, "method_not_allowed"),
    ],
)
def test_what_cannot_be_understood_is_refused_as_a_whole(
    *,
    method: str,
    rows: Any,
    query: str,
    key: str,
    status: int,
    code: str,
    alice: Phone,
    wales: World,
) -> None:
    """A clear code, nothing written, the key stays free."""
    before = state_of(wales)

    answer = send(alice, method, rows, query, key)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert state_of(wales) == before


def test_row_is_only_so_deep(dora: Phone, wales: World, settings: Any) -> None:
    """The limit is that of a push."""
    settings.SYNC = {**settings.SYNC, "JSON_DEPTH_MAX": 2}
    asset = {"id": new_id(), "site": wales.site, "category": "pump", "attributes": {"a": {"b": 1}}}

    answer = dora.send("POST", "/api/v1/assets/bulk/", [asset], **{"Idempotency-Key": "deep"})

    assert (answer.status_code, answer.json()["code"]) == (400, "body_malformed")


def test_unknown_collection_is_no_address(alice: Phone) -> None:
    """A problem document, as everywhere."""
    answer = send(alice, "POST", [], url="/api/v1/meters/bulk/")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_nobody_gets_in_without_a_token(alice: Phone, wales: World) -> None:
    """Authorisation comes before anything else, a replay included."""
    rows = rows_of(wales)
    send(alice, "POST", rows, key="k")
    alice.token = "nonsense"

    answer = send(alice, "POST", rows, key="k")

    assert answer.status_code == 401
    assert "Idempotency-Replayed" not in answer


def test_rows_of_another_tenant_answer_like_missing_ones(
    dora: Phone, wales: World, northwind: World
) -> None:
    """The tenant comes from the token, whatever the rows say."""
    nina = northwind.hire("dispatcher")
    (row,) = rows_of(northwind, 1)
    send(nina, "POST", [row])

    for method, edit in (("PATCH", {"title": "x"}), ("DELETE", {})):
        answer = send(dora, method, [{"id": row["id"], "base_version": 1, **edit}])
        assert outcomes(answer.json()["results"]) == ["not_found"]


def test_refused_rows_are_parked_like_those_of_a_push(alice: Phone, wales: World) -> None:
    """Where the tenant keeps what is refused, this door is no exception."""
    wales.tenant.has_quarantine = True
    wales.tenant.save()
    rows = rows_of(wales, 2)
    rows[0]["priority"] = 9

    report = send(alice, "POST", rows, "?policy=per_row").json()

    assert outcomes(report["results"]) == ["quarantined", "created"]
    assert report["results"][0]["refused"] == "invalid"


def test_cost_does_not_grow_with_the_list(dora: Phone, wales: World) -> None:
    """Two rows cost as many queries as a hundred."""

    def cost(count: int) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert send(dora, "POST", rows_of(wales, count)).status_code == 200
        return len(queries)

    assert cost(2) == cost(100)
