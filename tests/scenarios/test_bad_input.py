"""What a push is refused for before or beside its rows: a code each, and nothing written."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest
import zstandard

from backend.fieldwork.models import WorkOrder
from tests.phones import PULL, PUSH, Phone, World, create, new_id, update
from tests.scenarios.reading import outcomes, state_of

DEEP = b"[" * 50_000
CASES: dict[str, tuple[bytes, int, str]] = {
    "no json": (b"{", 400, "body_malformed"),
    "empty": (b"", 400, "body_malformed"),
    "a list": (b"[]", 400, "body_malformed"),
    "no mutations": (b"{}", 400, "body_malformed"),
    "unknown member": (b'{"mutations": [], "x": 1}', 400, "body_malformed"),
    "unknown policy": (b'{"mutations": [], "policy": "x"}', 400, "body_malformed"),
    "unknown op": (b'{"mutations": [{"op": "x", "collection": "notes", "id": "1"}]}', 400, "body_malformed"),
    "id is a number": (b'{"mutations": [{"op": "create", "collection": "notes", "id": 1}]}', 400, "body_malformed"),
    "data is a list": (b'{"mutations": [{"op": "create", "collection": "notes", "id": "1", "data": []}]}', 400, "body_malformed"),
    "negative base": (b'{"mutations": [{"op": "delete", "collection": "notes", "id": "1", "base_version": -1}]}', 400, "body_malformed"),
    "latin-1": ('{"mutations": [{"op": "create", "collection": "é", "id": "1"}]}'.encode("latin-1"), 400, "body_malformed"),
    "lone surrogate": (b'{"mutations": [{"op": "create", "collection": "notes", "id": "1", "data": {"text": "\\ud800"}}]}', 400, "body_malformed"),
    "nul": (b'{"mutations": [{"op": "create", "collection": "notes", "id": "1", "data": {"text": "\\u0000"}}]}', 400, "body_malformed"),
    "nul in a key": (b'{"mutations": [{"op": "create", "collection": "notes", "id": "1", "data": {"\\u0000": 1}}]}', 400, "body_malformed"),
    "NaN": (b'{"mutations": [{"op": "create", "collection": "notes", "id": "1", "data": {"text": NaN}}]}', 400, "body_malformed"),
    "huge number": (b'{"mutations": [{"op": "create", "collection": "notes", "id": "1", "data": {"text": ' + b"9" * 400 + b"}}]}", 400, "body_malformed"),
    "deep": (b'{"mutations": [{"op": "create", "collection": "notes", "id": "1", "data": {"text": ' + DEEP + b"}}]}", 400, "body_malformed"),
    "half a pair in an id": (b'{"mutations": [{"op": "create", "collection": "notes", "id": "\\udc00"}]}', 400, "body_malformed"),
    "nul in an id": (b'{"mutations": [{"op": "create", "collection": "notes", "id": "\\u0000"}]}', 400, "body_malformed"),
    "nul in a group": (b'{"mutations": [{"op": "create", "collection": "notes", "id": "1", "group": "\\u0000"}]}', 400, "body_malformed"),
    "infinity": (b'{"mutations": [{"op": "create", "collection": "notes", "id": "1", "data": {"text": -Infinity}}]}', 400, "body_malformed"),
    "overflow": (b'{"mutations": [{"op": "create", "collection": "notes", "id": "1", "data": {"text": 1e999}}]}', 400, "body_malformed"),
    "million digits": (b'{"mutations": [{"op": "create", "collection": "notes", "id": "1", "data": {"text": ' + b"9" * 10**6 + b"}}]}", 400, "body_malformed"),
    "twins": (b'{"mutations": [{"op": "create", "collection": "notes", "id": "1", "data": {"text": "a", "text": "b"}}]}', 400, "body_malformed"),
    "twin ids": (b'{"mutations": [{"op": "create", "collection": "notes", "id": "1", "id": "2"}]}', 400, "body_malformed"),
    "twin batches": (b'{"mutations": [], "mutations": []}', 400, "body_malformed"),
    "byte order mark": (b'\xef\xbb\xbf{"mutations": []}', 400, "body_malformed"),
    "utf-16": ('{"mutations": []}'.encode("utf-16"), 400, "body_malformed"),
    "deep but closed": (b'{"mutations": [{"op": "create", "collection": "notes", "id": "1", "data": {"a": ' + b"[" * 40 + b"]" * 40 + b"}}]}", 400, "body_malformed"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_unreadable_body_is_a_clear_400(case: str, alice: Phone, wales: World) -> None:
    """A code each, nothing written, and the key stays free."""
    body, status, code = CASES[case]
    before = state_of(wales)

    answer = alice.push_raw(body)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer["Content-Type"] == "application/problem+json"
    assert state_of(wales) == before


@pytest.mark.parametrize(
    ("data", "path", "code"),
    [
        ({"title": "x" * 5_000}, "title", "max_length"),
        ({"title": None}, "title", "null"),
        ({"title": ["x"]}, "title", "invalid"),
        ({"priority": "high"}, "priority", "invalid"),
        ({"kind": "nonsense"}, "kind", "invalid_choice"),
        ({"site": "not-a-uuid"}, "site", "invalid"),
        ({"due_at": "yesterday"}, "due_at", "invalid"),
        ({"tasks": "x"}, "tasks", "not_a_list"),
        ({"tasks": [{"id": new_id(), "position": 1}]}, "tasks.0.text", "required"),
        (
            {"tasks": [{"id": new_id(), "position": 1, "text": "x", "extra": 1}]},
            "tasks.0.extra",
            "unknown_field",
        ),
        ({"nonsense": 1}, "nonsense", "unknown_field"),
        ({"number": "WO-1"}, "number", "read_only"),
        ({"tenant_id": new_id()}, "tenant_id", "unknown_field"),
        ({"tenant": new_id()}, "tenant", "unknown_field"),
        ({"version": 7}, "version", "unknown_field"),
        ({"field_versions": {}}, "field_versions", "unknown_field"),
        ({"id": new_id()}, "id", "unknown_field"),
        ({"created_at": "2026-01-01T00:00:00Z"}, "created_at", "unknown_field"),
    ],
)
def test_bad_field_is_named_with_a_code(
    data: dict[str, Any], path: str, code: str, alice: Phone, wales: World
) -> None:
    """The app can show the error at its field; nothing of the row is written."""
    answer = alice.push_raw({"mutations": [create("work_orders", **wales.order(**data))]})

    (result,) = answer.json()["results"]
    assert answer.status_code == 422
    assert (path, code) in {(e["path"], e["code"]) for e in result["errors"]}
    assert not WorkOrder.objects.filter(tenant_id=wales.tenant.pk).exists()


@pytest.mark.parametrize(
    ("mutation", "path", "code"),
    [
        (create("nonsense"), "collection", "unknown_collection"),
        (create("notes", "not-a-uuid", text="x"), "id", "invalid"),
        (update("work_orders", new_id(), None, title="x"), None, "row_not_found"),
    ],
)
def test_mutation_that_cannot_be_placed(
    mutation: dict[str, Any], path: str | None, code: str, alice: Phone
) -> None:
    """One outcome for it, and the rest of the batch goes on."""
    results = alice.push(mutation)

    if path is None:
        assert results[0]["code"] == code
    else:
        assert [(e["path"], e["code"]) for e in results[0]["errors"]] == [(path, code)]


def test_edit_needs_its_base(alice: Phone, wales: World) -> None:
    """Without it nobody could tell an edit from an overwrite."""
    order = create("work_orders", **wales.order())
    alice.push(order)

    (result,) = alice.push(update("work_orders", order["id"], None, title="b"))

    assert (result["outcome"], result["errors"][0]["path"]) == ("invalid", "base_version")


def test_upper_case_ids_are_the_same_ids(alice: Phone, wales: World) -> None:
    """Some platforms print UUIDs in capitals."""
    order = create("work_orders", **wales.order())
    alice.push({**order, "id": order["id"].upper()})

    assert outcomes(alice.push(order)) == ["unchanged"]


@pytest.mark.parametrize(
    ("key", "status", "code"),
    [("", 400, "idempotency_key_required"), ('""', 400, "idempotency_key_invalid"),
     ("x" * 300, 400, "idempotency_key_invalid"), ("a b", 400, "idempotency_key_invalid")],
)  # fmt: skip
def test_key_must_be_there_and_sane(
    key: str, status: int, code: str, alice: Phone, wales: World
) -> None:
    """Without a key a retry could double the work."""
    answer = alice.push_raw({"mutations": [create("work_orders", **wales.order())]}, key)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert not WorkOrder.objects.filter(tenant_id=wales.tenant.pk).exists()


def test_too_many_rows_are_refused_with_the_limit(alice: Phone, wales: World) -> None:
    """The client learns what to halve to."""
    answer = alice.push_raw(
        {"mutations": [create("work_orders", **wales.order()) for _ in range(1_001)]}
    )

    problem = answer.json()
    assert (answer.status_code, problem["limit"], problem["maximum"]) == (
        413,
        "push_rows_max",
        1_000,
    )


def push_packed(phone: Phone, body: bytes, encoding: str, key: str = "k") -> Any:
    """Push bytes that are packed already, or pretend to be."""
    headers = {"Idempotency-Key": key, "Content-Encoding": encoding}
    return phone.send("POST", PUSH, body, **headers)


def test_fault_is_named_with_its_path(alice: Phone, wales: World) -> None:
    """Among a thousand rows, whoever has to mend one must find it."""
    orders = [create("work_orders", **wales.order()) for _ in range(3)]
    tasks = [{"id": new_id(), "position": 1, "text": "a\0b"}]
    bad = create("work_orders", **wales.order(tasks=tasks))

    answer = alice.push_raw({"mutations": [*orders, bad]})

    assert answer.json()["detail"] == (
        "mutations.3.data.tasks.0.text: text must not contain NUL characters."
    )


PACK: dict[str, Callable[[bytes], bytes]] = {
    "identity": lambda body: body,
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor(level=19, write_checksum=True).compress,
}
PACKED = [name for name in PACK if name != "identity"]


@pytest.mark.parametrize("encoding", PACK)
def test_too_large_a_body_is_refused_with_the_limit(encoding: str, alice: Phone) -> None:
    """The client learns what to halve to; a bomb of a few KiB counts as what it unpacks to."""
    huge = b'{"mutations": [' + b" " * (9 * 1024 * 1024) + b"]}"

    answer = push_packed(alice, PACK[encoding](huge), encoding)

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (413, "limit_exceeded")
    assert (problem["limit"], problem["maximum"]) == ("body_bytes_max", 8 * 1024 * 1024)


@pytest.mark.parametrize("encoding", PACKED)
def test_too_large_a_packed_body_is_refused_before_it_is_unpacked(
    encoding: str, alice: Phone
) -> None:
    """It is no use to look: it would be beyond what a batch may be, or is nothing that packs."""
    answer = push_packed(alice, bytes(4 * 1024 * 1024 + 1), encoding)

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (413, "limit_exceeded")
    assert (problem["limit"], problem["maximum"]) == ("compressed_body_bytes_max", 4 * 1024 * 1024)


@pytest.mark.parametrize("encoding", ["identity", "GZIP", " zstd"])
def test_packed_body_is_the_same_request(encoding: str, alice: Phone, wales: World) -> None:
    """The key stands for the decoded bytes: a retry may be packed where the first was not."""
    body = json.dumps({"mutations": [create("work_orders", **wales.order())]}).encode()
    first = alice.push_raw(body, "k")

    again = push_packed(alice, PACK[encoding.strip().lower()](body), encoding)

    assert again.content == first.content
    assert again["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize("encoding", PACKED)
@pytest.mark.parametrize("case", ["nonsense", "cut", "followed", "two of them", "nothing"])
def test_broken_packing_is_a_400(case: str, encoding: str, alice: Phone, wales: World) -> None:
    """A part of a body is no body, and what follows it was meant for somebody else."""
    body = json.dumps({"mutations": [create("work_orders", **wales.order())]}).encode()
    packed = PACK[encoding](body)
    sent = {
        "nonsense": b"nonsense" * 10,
        "cut": packed[:-4],
        "followed": packed + b"x",
        "two of them": packed + packed,
        "nothing": b"",
    }
    before = state_of(wales)

    answer = push_packed(alice, sent[case], encoding)

    assert (answer.status_code, answer.json()["code"]) == (400, "body_malformed")
    assert state_of(wales) == before


@pytest.mark.parametrize("encoding", ["br", "gzip, zstd", ""])
def test_unknown_encoding_is_a_415_that_names_the_known_ones(encoding: str, alice: Phone) -> None:
    """Better a plain no than bytes taken for JSON; the client can choose another."""
    answer = push_packed(alice, b"{}", encoding)

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (415, "content_encoding_unsupported")
    assert "gzip or zstd" in problem["detail"]
    assert problem["content_encodings"] == ["gzip", "zstd"]


def test_limits_are_published(alice: Phone) -> None:
    """A client need not find them out by being refused."""
    answer = alice.send("GET", "/api/v1/sync/limits")

    assert answer.json() == {
        "push_rows_max": 1_000,
        "body_bytes_max": 8 * 1024 * 1024,
        "compressed_body_bytes_max": 4 * 1024 * 1024,
        "pull_page_rows_max": 1_000,
        "json_depth_max": 16,
        "key_chars_max": 255,
        "wait_s_max": 60,
        "content_encodings": ["gzip", "zstd"],
    }


def test_nobody_gets_a_401(alice: Phone, wales: World) -> None:
    """Before anything of the body is looked at."""
    alice.token = "nonsense"

    for answer in (alice.push_raw(b"{"), alice.send("GET", PULL)):
        assert answer.status_code == 401
        assert answer["Content-Type"] == "application/problem+json"


def test_rehearsal_reports_and_writes_nothing(alice: Phone, wales: World) -> None:
    """`validate_only` takes no key and leaves no trace."""
    before = state_of(wales)
    order = create("work_orders", **wales.order())

    answer = alice.push_raw({"validate_only": True, "mutations": [order]}, "")

    assert answer.json()["results"][0]["outcome"] == "created"
    assert state_of(wales) == before
    assert not WorkOrder.objects.filter(pk=order["id"]).exists()
