"""v2: a work order has a `summary`, and its `assignee` is an object; on every road, both ways."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from rest_framework.test import APIClient

from sync import local_edits, wire
from sync.models import ChangeRow
from tests.phones import Phone, World, create, new_id, update

V1, V2 = "/api/v1", "/api/v2"
ORDERS = f"{V2}/work-orders/"


@pytest.fixture
def dora(wales: World) -> Phone:
    return wales.hire("dispatcher")


@pytest.fixture
def tess(wales: World) -> Phone:
    return wales.hire()


def order(world: World, **data: Any) -> dict[str, Any]:
    """Return a work order in the second version's shape."""
    row = world.order()
    row["summary"] = row.pop("title")
    return {**row, **data}


def push(phone: Phone, *mutations: dict[str, Any], key: str = "", base: str = V2) -> Any:
    body = {"policy": "per_row", "mutations": list(mutations)}
    headers = {"Idempotency-Key": key or new_id()}
    return phone.send("POST", f"{base}/sync/push", body, **headers)


def results(answer: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = answer.json()["results"]
    return found


def stored(row_id: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ChangeRow.objects.get(row_id=row_id).payload or "")
    return found


def pulled(phone: Phone, base: str) -> dict[str, dict[str, Any]]:
    page = phone.send("GET", f"{base}/sync/pull").json()
    return {change["id"]: change for change in page["changes"]}


def test_both_versions_write_and_read_the_same_row(wales: World, tess: Phone) -> None:
    row_id = new_id()
    assignee = {"id": str(tess.user_id)}
    (line,) = results(
        push(
            tess, create("work_orders", row_id, **order(wales, summary="Pump", assignee=assignee))
        )
    )
    assert line["outcome"] == "created", line

    old, new = pulled(tess, V1)[row_id], pulled(tess, V2)[row_id]
    assert (old["data"]["title"], old["data"]["assignee"]) == ("Pump", str(tess.user_id))
    assert (new["data"]["summary"], new["data"]["assignee"]) == ("Pump", assignee)
    assert "title" not in new["data"]
    assert "summary" not in old["data"]
    for base, wanted in ((V1, old), (V2, new)):
        read = tess.send("GET", f"{base}/work-orders/{row_id}/").json()
        assert read == {"id": row_id, "version": 1, **wanted["data"]}
        (listed,) = tess.send("GET", f"{base}/work-orders/").json()["results"]
        assert listed.items() <= {**read, **listed}.items()
        assert ("summary" in listed) == (base == V2)
        assert listed["assignee"] == wanted["data"]["assignee"]
    (line,) = results(push(tess, update("work_orders", row_id, 1, title="Valve"), base=V1))
    assert line["outcome"] == "updated"
    assert pulled(tess, V2)[row_id]["data"]["summary"] == "Valve"


def test_pushed_names_of_the_first_version_are_unknown(wales: World, tess: Phone) -> None:
    """They must not slip through: whoever sends them has not understood what is new."""
    old = wales.order()
    lines = results(push(tess, create("work_orders", **old), create("work_orders", **order(wales, assignee=str(tess.user_id)))))  # fmt: skip

    assert [line["outcome"] for line in lines] == ["invalid", "invalid"]
    named = {(error["path"], error["code"]) for error in lines[0]["errors"]}
    assert named == {("title", "unknown_field"), ("summary", "required")}
    assert [error["path"] for error in lines[1]["errors"]] == ["assignee"]


@pytest.mark.parametrize(
    "assignee", ["x", 7, {}, [], {"id": None}, {"id": 7}, {"id": "x"}, {"id": "x", "more": 1}]
)
def test_assignee_that_is_no_reference_is_refused(
    wales: World, dora: Phone, assignee: Any
) -> None:
    answer = dora.send("POST", ORDERS, order(wales, assignee=assignee))

    assert answer.status_code == 400, answer.content
    assert {error["path"].partition(".")[0] for error in answer.json()["errors"]} == {"assignee"}


def test_rows_are_created_edited_and_described_in_the_version(wales: World, dora: Phone) -> None:
    made = dora.send("POST", ORDERS, order(wales, summary="Pump"))
    assert made.status_code == 201, made.content
    row = made.json()
    assert row["summary"] == "Pump"
    assert made["Location"].endswith(f"{ORDERS}{row['id']}/")

    url = f"{ORDERS}{row['id']}/"
    edited = dora.send("PATCH", url, {"summary": "Valve"}, **{"If-Match": made["ETag"]})
    assert edited.json()["summary"] == "Valve"
    given = dora.send("POST", f"{url}assign/", {"assignee": {"id": str(dora.user_id)}})
    assert given.json()["assignee"] == {"id": str(dora.user_id)}, given.content
    whole = {**given.json(), "summary": "Fan"}
    replaced = dora.send("PUT", url, whole, **{"If-Match": given["ETag"]})
    assert replaced.json()["summary"] == "Fan", replaced.content
    assert stored(row["id"])["title"] == "Fan"

    wrong = dora.send("PATCH", url, {"summary": ""}, **{"If-Match": "*"})
    assert [error["path"] for error in wrong.json()["errors"]] == ["summary"]
    missing = dora.send("POST", ORDERS, {"site": wales.site})
    assert "summary" in [error["path"] for error in missing.json()["errors"]]


def test_key_has_one_answer_in_the_version_that_it_was_used_in(wales: World, tess: Phone) -> None:
    key, row_id = new_id(), new_id()
    body = create("work_orders", row_id, **order(wales))

    first, again = push(tess, body, key=key), push(tess, body, key=key)

    assert first.content == again.content
    assert again["Idempotency-Replayed"] == "true"
    other = push(tess, create("work_orders", row_id, **wales.order()), key=key, base=V1)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


def test_conflict_names_fields_and_shows_the_row_in_the_version(wales: World, tess: Phone) -> None:
    row_id = new_id()
    push(tess, create("work_orders", row_id, **order(wales, summary="A")))
    push(tess, update("work_orders", row_id, 1, summary="B"))

    (line,) = results(push(tess, update("work_orders", row_id, 1, summary="C")))

    assert line["outcome"] == "conflict"
    assert line["fields"] == ["summary"]
    assert line["current"]["summary"] == "B"


def test_bulk_rows_are_in_the_version(wales: World, dora: Phone) -> None:
    row_id = new_id()
    rows = [{"id": row_id, **order(wales, summary="Pump")}, {"id": new_id(), **wales.order()}]

    answer = dora.send(
        "POST", f"{ORDERS}bulk/?policy=per_row", rows, **{"Idempotency-Key": new_id()}
    )

    assert [line["outcome"] for line in results(answer)] == ["created", "invalid"]
    assert stored(row_id)["title"] == "Pump"


def test_stream_and_rows_sent_again_are_in_the_version(wales: World, tess: Phone) -> None:
    ids = [new_id() for _ in range(3)]
    for row_id in ids:
        push(tess, create("work_orders", row_id, **order(wales)))
    headers = {"Accept": "application/x-ndjson", "Accept-Encoding": "gzip"}
    packed = download(tess, f"{V2}/sync/pull?limit=2", **headers)
    lines = [json.loads(line) for line in gzip.decompress(packed).splitlines()]

    orders = {line["id"]: line for line in lines if line.get("collection") == "work_orders"}
    assert set(orders) == set(ids)
    assert all("summary" in line["data"] for line in orders.values())
    assert "cursor" in lines[-1]
    bucket = wire.bucket(ids[0])
    again = tess.send("GET", f"{V2}/sync/rows?collection=work_orders&bucket={bucket}").json()
    assert orders[ids[0]]["data"] in [change["data"] for change in again["changes"]]


def download(phone: Phone, url: str, **headers: str) -> bytes:
    """Return all of a stream."""
    client: Any = APIClient()
    answer = client.get(url, headers={"Authorization": f"Bearer {phone.token}", **headers})

    async def collect() -> bytes:
        return b"".join([chunk async for chunk in answer.__aiter__()])

    return async_to_sync(collect)()


def test_digests_of_the_lines_add_up_to_the_servers(wales: World, tess: Phone) -> None:
    """A device cannot sum up bytes that it was not sent: each line says its row's checksum."""
    for _ in range(5):
        push(tess, create("work_orders", **order(wales)))
    push(tess, create("assets", site=wales.site, category="pump"))

    sums: dict[str, int] = {}
    counts: dict[str, int] = {}
    for change in pulled(tess, V2).values():
        name = change["collection"]
        sums[name] = sums.get(name, 0) ^ int(change["digest"], 16)
        counts[name] = counts.get(name, 0) + 1
    digest = tess.send("GET", f"{V2}/sync/digest").json()["collections"]

    for name, count in counts.items():
        assert (digest[name]["count"], int(digest[name]["checksum"], 16)) == (count, sums[name])


def test_what_is_parked_is_shown_and_applied_in_the_version(wales: World, tess: Phone) -> None:
    wales.tenant.has_quarantine = True
    wales.tenant.save()
    sam = wales.hire("supervisor", [wales.cardiff])
    (line,) = results(push(tess, create("work_orders", **order(wales, summary=""))))
    url = f"{V2}/sync/quarantine/{line['quarantine_id']}/"

    parked = sam.send("GET", url).json()
    assert parked["mutation"]["data"]["summary"] == ""
    assert [error["path"] for error in parked["errors"]] == ["summary"]
    (listed,) = sam.send("GET", f"{V2}/sync/quarantine/").json()["parked"]
    assert listed == parked
    refused = sam.send("POST", f"{url}apply/", {})
    assert refused.status_code == 422
    assert [e["path"] for e in refused.json()["result"]["errors"]] == ["summary"]
    data = {**parked["mutation"]["data"], "summary": "Pump"}
    applied = sam.send("POST", f"{url}apply/", {"data": data})
    assert applied.json()["outcome"] == "created", applied.content
    assert stored(line["id"])["title"] == "Pump"
    assert sam.send("GET", url).json()["edit"]["data"]["summary"] == "Pump"


def test_exports_have_the_names_of_the_version(wales: World, dora: Phone) -> None:
    dora.send("POST", ORDERS, order(wales, summary="Pump"))

    csv = download(dora, f"{ORDERS}export/?as=csv").decode()
    lines = download(dora, f"{ORDERS}export/?as=ndjson").decode()

    assert "summary" in csv.splitlines()[0].split(",")
    assert "title" not in csv.splitlines()[0].split(",")
    assert json.loads(lines)["summary"] == "Pump"


def test_other_collections_are_as_they_were(wales: World, dora: Phone) -> None:
    edit = local_edits.create("assets", {"site": wales.site, "category": "pump"}, new_id())
    local_edits.apply(wales.tenant.pk, [edit])
    old, new = pulled(dora, V1)[edit.id], pulled(dora, V2)[edit.id]

    assert {**old, "digest": new["digest"]} == new
    for path in ("sites", "assets", "territories"):
        assert dora.send("GET", f"{V1}/{path}/").json() == dora.send("GET", f"{V2}/{path}/").json()


def test_old_version_says_that_it_is_old(wales: World, tess: Phone) -> None:
    for path in (
        "/sync/pull",
        "/work-orders/",
        "/nothing/there",
        "/sync/receipts/%0D%0A%C2%8B%22",
    ):
        old, new = tess.send("GET", f"{V1}{path}"), tess.send("GET", f"{V2}{path}")
        assert old["Deprecation"].startswith("@1")
        assert old["Sunset"].endswith("GMT")
        assert f'<{V2}{path}>; rel="successor-version"' in old["Link"]
        assert 'rel="deprecation"' in old["Link"]
        assert not {"Deprecation", "Sunset", "Link"} & set(new.headers)
