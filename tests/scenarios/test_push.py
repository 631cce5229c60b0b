"""A push, whatever the link and the data do to it."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from backend.accounts.models import User
from backend.accounts.selectors import load_session
from backend.accounts.tokens import make_access
from backend.fieldwork.models import Note, WorkOrder
from sync.models import ChangeRow
from tests.phones import Phone, World, create, delete, new_id, update
from tests.scenarios.reading import outcomes, state_of

# --- once and only once -----------------------------------------------------------------------


def test_resend_after_lost_answer_changes_nothing(alice: Phone, wales: World) -> None:
    """The link broke after the commit: the same request gets the same bytes, and has no effect."""
    body = {"policy": "per_row", "mutations": [create("work_orders", **wales.order())]}
    key = str(uuid.uuid4())
    first = alice.push_raw(body, key)
    before = state_of(wales)

    again = alice.push_raw(body, key)

    assert again.content == first.content
    assert again["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first
    assert state_of(wales) == before


def test_rejected_batch_is_replayed_too(alice: Phone, wales: World) -> None:
    """A refusal is an answer: asking again does not try again."""
    body = {"mutations": [create("work_orders", **wales.order(title=""))]}
    key = str(uuid.uuid4())
    first = alice.push_raw(body, key)

    again = alice.push_raw(body, key)

    assert first.status_code == again.status_code == 422
    assert again.content == first.content
    assert first["Content-Type"] == "application/problem+json"
    assert first.json()["code"] == "batch_rejected"


def test_quoted_and_bare_keys_are_the_same(alice: Phone, wales: World) -> None:
    """The draft quotes the key; many clients do not."""
    body = {"policy": "per_row", "mutations": [create("work_orders", **wales.order())]}
    alice.push_raw(body, "abc-1")

    assert alice.push_raw(body, '"abc-1"')["Idempotency-Replayed"] == "true"


def test_same_key_with_other_bytes_is_refused(alice: Phone, wales: World) -> None:
    """A client that counts its keys wrongly must not get another batch's answer."""
    alice.push_raw({"mutations": [create("work_orders", **wales.order())]}, "k")
    before = state_of(wales)

    answer = alice.push_raw({"mutations": [create("work_orders", **wales.order())]}, "k")

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert state_of(wales) == before


def test_retry_with_another_token_is_the_same_request(alice: Phone, wales: World) -> None:
    """The token was refreshed between the try and the retry: the key belongs to the device."""
    body = {"policy": "per_row", "mutations": [create("work_orders", **wales.order())]}
    first = alice.push_raw(body, "k")
    session = load_session(
        user_id=User.objects.get(pk=alice.user_id).pk,
        tenant_id=wales.tenant.pk,
        device_id=alice.device_id,
    )
    alice.token = make_access(session)

    assert alice.push_raw(body, "k").content == first.content


def test_two_phones_may_use_the_same_key(alice: Phone, bob: Phone, wales: World) -> None:
    """Keys belong to a device; another one's batch is another batch."""
    alice.push_raw({"mutations": [create("work_orders", **wales.order())]}, "k")

    answer = bob.push_raw({"mutations": [create("work_orders", **wales.order())]}, "k")

    assert answer.json()["status"] == "ok"


def test_two_phones_of_one_person_may_use_the_same_key(alice: Phone, wales: World) -> None:
    """An app that counts its batches from one on every device."""
    other = wales.phone_of(User.objects.get(pk=alice.user_id), "tablet")
    alice.push_raw({"mutations": [create("work_orders", **wales.order())]}, "1")

    answer = other.push_raw({"mutations": [create("work_orders", **wales.order())]}, "1")

    assert answer.json()["status"] == "ok"


def test_receipt_gives_the_answer_again(alice: Phone, bob: Phone, wales: World) -> None:
    """An app that lost everything but the key can still ask; another phone cannot."""
    first = alice.push_raw({"mutations": [create("work_orders", **wales.order())]}, "k")

    assert alice.send("GET", "/api/v1/sync/receipts/k").content == first.content
    assert bob.send("GET", "/api/v1/sync/receipts/k").status_code == 404


def test_same_content_under_a_new_key_writes_nothing(alice: Phone, wales: World) -> None:
    """A phone restored from a backup sends its old outbox again."""
    mutation = create(
        "work_orders", **wales.order(tasks=[{"id": new_id(), "position": 1, "text": "look"}])
    )
    alice.push(mutation)
    alice.push(update("work_orders", mutation["id"], 1, title=f"{wales.canary} b"))
    head = state_of(wales)[0]

    results = alice.push(
        {**mutation, "data": {**mutation["data"], "title": f"{wales.canary} b"}},
        update("work_orders", mutation["id"], 1, title=f"{wales.canary} b"),
    )

    assert outcomes(results) == ["unchanged", "unchanged"]
    assert state_of(wales)[0] == head
    assert WorkOrder.objects.get(pk=mutation["id"]).version == 2


# --- one bad row ------------------------------------------------------------------------------


def test_one_bad_row_among_500_per_row(alice: Phone, wales: World) -> None:
    """499 are saved, and every row has its outcome."""
    batch = [create("work_orders", **wales.order()) for _ in range(500)]
    batch[250]["data"]["priority"] = 9

    results = alice.push(*batch)

    assert outcomes(results).count("created") == 499
    assert results[250]["outcome"] == "invalid"
    assert results[250]["errors"][0]["path"] == "priority"
    assert WorkOrder.objects.filter(tenant_id=wales.tenant.pk).count() == 499


def test_one_bad_row_among_500_all_or_nothing(alice: Phone, wales: World) -> None:
    """Nothing is saved; one culprit, 499 that have nothing wrong with them."""
    batch = [create("work_orders", **wales.order()) for _ in range(500)]
    batch[250]["data"]["priority"] = 9

    answer = alice.push_raw({"mutations": batch})

    assert answer.status_code == 422
    report = answer.json()
    assert (report["status"], report["code"]) == (422, "batch_rejected")
    assert outcomes(report["results"]).count("not_applied") == 499
    assert report["results"][250]["outcome"] == "invalid"
    assert report["results"][0]["blocked_by"]["index"] == 250
    assert not WorkOrder.objects.filter(tenant_id=wales.tenant.pk).exists()


def test_rejected_batch_with_a_conflict_answers_409(alice: Phone, wales: World) -> None:
    """The app tells `look at it` from `it is wrong` by the status alone."""
    mutation = create("work_orders", **wales.order())
    alice.push(mutation)
    alice.push(update("work_orders", mutation["id"], 1, title="b"))

    answer = alice.push_raw({"mutations": [update("work_orders", mutation["id"], 1, title="c")]})

    assert answer.status_code == 409
    assert answer.json()["results"][0]["fields"] == ["title"]


def test_push_row_by_row_is_answered_200_even_when_every_row_is_refused(alice: Phone) -> None:
    """The report is what was asked for; a 409 would be taken for a batch that fell as one."""
    mutations = [update("work_orders", new_id(), 1, title="b")]

    answer = alice.push_raw({"policy": "per_row", "mutations": mutations})

    assert (answer.status_code, answer.json()["status"]) == (200, "rejected")


def test_the_database_has_the_last_word_row_by_row(alice: Phone, wales: World) -> None:
    """Two tasks with one id pass every check before the write; only their own row is refused."""
    twin = new_id()
    twins = [{"id": twin, "position": n, "text": "x"} for n in (1, 2)]
    batch = [create("work_orders", **wales.order()) for _ in range(20)]
    batch[7]["data"]["tasks"] = twins

    results = alice.push(*batch)

    assert results[7]["outcome"] == "invalid"
    assert outcomes(results).count("created") == 19


# --- order, groups, nested children -----------------------------------------------------------


def test_visit_is_pushed_in_any_order(alice: Phone, wales: World) -> None:
    """A note before its work order, a part before both."""
    order = create("work_orders", **wales.order())
    note = create("notes", work_order=order["id"], text="rust")
    part = create("parts_used", work_order=order["id"], sku="p1", quantity="2.5", unit="pc")

    assert outcomes(alice.push(part, note, order)) == ["created"] * 3
    alice.pull()
    assert alice.row("parts_used", part["id"])["quantity"] == "2.500"
    assert alice.row("notes", note["id"])["author"] == str(alice.user_id)


def test_group_falls_whole(alice: Phone, wales: World) -> None:
    """A visit with a broken note is not half saved."""
    order = create("work_orders", group="visit", **wales.order())
    note = create("notes", group="visit", work_order=order["id"], text="")
    other = create("work_orders", **wales.order())

    assert outcomes(alice.push(order, note, other)) == ["not_applied", "invalid", "created"]
    assert not WorkOrder.objects.filter(pk=order["id"]).exists()


def test_child_of_a_refused_parent(alice: Phone, wales: World) -> None:
    """The note says which row it waited for in vain."""
    order = create("work_orders", **wales.order(kind="nonsense"))
    note = create("notes", work_order=order["id"], text="rust")

    results = alice.push(note, order)

    assert outcomes(results) == ["dependency_failed", "invalid"]
    assert results[0]["blocked_by"] == {"collection": "work_orders", "id": order["id"], "index": 1}


def test_tasks_are_replaced_with_their_order(alice: Phone, wales: World) -> None:
    """Nested children are written with their parent, and come back as they were sent."""
    a, b, c = ({"id": new_id(), "position": n, "text": f"t{n}"} for n in (1, 2, 3))
    order = create("work_orders", **wales.order(tasks=[b, a]))
    alice.push(order)
    alice.push(update("work_orders", order["id"], 1, tasks=[c, {**a, "done": True}]))

    alice.pull()

    tasks = alice.row("work_orders", order["id"])["tasks"]
    assert [(t["text"], t["done"]) for t in tasks] == [("t1", True), ("t3", False)]


def test_several_edits_of_one_row_in_one_push(dora: Phone, wales: World) -> None:
    """Create, edit, edit, delete: each sees the one before."""
    order = create("work_orders", **wales.order())
    results = dora.push(
        order,
        update("work_orders", order["id"], None, title="b"),
        update("work_orders", order["id"], 2, title="c"),
    )
    assert [line["version"] for line in results] == [1, 2, 3]

    assert outcomes(dora.push(delete("work_orders", order["id"], 3))) == ["deleted"]
    assert outcomes(dora.push(update("work_orders", order["id"], 3, title="d"))) == ["gone"]


# --- conflicts --------------------------------------------------------------------------------


def test_two_people_edit_different_fields(alice: Phone, bob: Phone, wales: World) -> None:
    """Both edits are kept."""
    order = create("work_orders", **wales.order())
    alice.push(order)

    alice.push(update("work_orders", order["id"], 1, title=f"{wales.canary} b"))
    (merged,) = bob.push(update("work_orders", order["id"], 1, priority=1))

    assert (merged["outcome"], merged["version"]) == ("merged", 3)
    assert (merged["current"]["title"], merged["current"]["priority"]) == (f"{wales.canary} b", 1)


def test_two_supervisors_edit_one_inspection(wales: World) -> None:
    """Inspections do not merge: the second is told what to look at."""
    anna, ben = (wales.hire("supervisor") for _ in range(2))
    asset = create("assets", site=wales.site, tag="p1", category="pump")
    inspection = create("inspections", asset=asset["id"], template_code="T", template_version=1)
    assert outcomes(anna.push(asset, inspection)) == ["created", "created"]

    answers = [{"id": new_id(), "item_code": "1", "value": "ok"}]
    assert outcomes(anna.push(update("inspections", inspection["id"], 1, answers=answers))) == [
        "updated"
    ]
    (result,) = ben.push(
        update("inspections", inspection["id"], 1, answers=[{**answers[0], "value": "bad"}])
    )

    assert (result["outcome"], result["fields"]) == ("conflict", [f"answers.{answers[0]['id']}"])
    assert result["current"]["answers"][0]["value"] == "ok"
    assert (result["base_version"], result["version"]) == (1, 2)


def test_edit_against_delete_both_ways(dora: Phone, wales: World) -> None:
    """A delete on an old version loses; an edit of a deleted row is told so; the queue goes on."""
    kept, lost = (create("work_orders", **wales.order()) for _ in range(2))
    dora.push(kept, lost)
    dora.push(
        update("work_orders", kept["id"], 1, title="b"), delete("work_orders", lost["id"], 1)
    )
    late = create("work_orders", **wales.order())

    results = dora.push(
        delete("work_orders", kept["id"], 1), update("work_orders", lost["id"], 1, title="c"), late
    )

    assert outcomes(results) == ["conflict", "gone", "created"]
    assert results[0]["code"] == "edited_since"


def test_illegal_step_names_the_legal_ones(alice: Phone, wales: World) -> None:
    """The app can offer what is possible instead of an error."""
    order = create("work_orders", **wales.order(status="in_progress"))
    alice.push(order)

    (result,) = alice.push(update("work_orders", order["id"], 1, status="open"))

    assert (result["outcome"], result["code"]) == ("conflict", "illegal_transition")
    assert result["allowed"] == ["paused", "done", "cancelled"]


def test_row_that_others_need_is_not_deleted(dora: Phone, wales: World) -> None:
    """A work order with a note stays; the phone that never saw the note is told."""
    order = create("work_orders", **wales.order())
    dora.push(order, create("notes", work_order=order["id"], text="rust"))

    (result,) = dora.push(delete("work_orders", order["id"], 1))

    assert (result["outcome"], result["code"]) == ("conflict", "still_referenced")
    assert (result["version"], result["current"]["kind"]) == (1, "repair")


# --- tenants and scopes -----------------------------------------------------------------------


def test_two_tenants_use_the_same_ids_and_keys(
    alice: Phone, wales: World, northwind: World
) -> None:
    """Neither is refused, changed or shown what the other has."""
    nina = northwind.hire()
    row_id = new_id()
    body = {"policy": "per_row", "mutations": [create("work_orders", row_id, **wales.order())]}
    other = {
        "policy": "per_row",
        "mutations": [create("work_orders", row_id, **northwind.order())],
    }
    assert alice.push_raw(body, "k").json()["results"][0]["outcome"] == "created"

    assert nina.push_raw(other, "k").json()["results"][0]["outcome"] == "created"
    nina.push(update("work_orders", row_id, 1, title=f"{northwind.canary} mine"))

    alice.pull()
    assert alice.row("work_orders", row_id)["title"] == f"{wales.canary} pump"


@pytest.mark.parametrize("op", ["update", "delete"])
def test_foreign_row_answers_like_a_missing_one(
    op: str, alice: Phone, wales: World, northwind: World
) -> None:
    """To the byte, but for the id: nothing tells that it exists."""
    nina = northwind.hire()
    order = create("work_orders", **northwind.order())
    nina.push(order)

    def answer(row_id: str) -> dict[str, Any]:
        edit = update("work_orders", row_id, 1, title="x")
        return alice.push(edit if op == "update" else delete("work_orders", row_id, 1))[0]

    foreign, missing = answer(order["id"]), answer(new_id())

    assert {**foreign, "id": ""} == {**missing, "id": ""}
    assert foreign["outcome"] == "not_found"


def test_foreign_references_answer_like_missing_ones(
    alice: Phone, wales: World, northwind: World
) -> None:
    """Another tenant's site, and one of this tenant that the technician does not hold."""
    results = alice.push(
        *(
            create("work_orders", **wales.order(site=site))
            for site in (northwind.site, wales.other_site, new_id())
        )
    )

    assert outcomes(results) == ["dependency_failed"] * 3
    assert {line["code"] for line in results} == {"parent_missing"}


def test_assignee_of_another_tenant_is_refused(
    alice: Phone, wales: World, northwind: World
) -> None:
    """A person of another tenant does not exist here."""
    nina = northwind.hire()

    (result,) = alice.push(create("work_orders", **wales.order(assignee=str(nina.user_id))))

    assert (result["outcome"], result["errors"][0]["path"]) == ("invalid", "assignee")


def test_row_out_of_scope_is_not_found(alice: Phone, wales: World) -> None:
    """A colleague's territory is no business of hers."""
    tom = wales.hire(territories=[wales.newport])
    order = create("work_orders", **wales.order(site=wales.other_site))
    tom.push(order)

    assert outcomes(alice.push(update("work_orders", order["id"], 1, title="x"))) == ["not_found"]


# --- cost -------------------------------------------------------------------------------------


def test_number_of_queries_does_not_depend_on_the_number_of_rows(
    dora: Phone, wales: World
) -> None:
    """Creates, edits, children, parents and deletes: 3 of each cost as much as 90."""

    def cost(count: int) -> int:
        orders = [
            create(
                "work_orders", **wales.order(tasks=[{"id": new_id(), "position": 1, "text": "x"}])
            )
            for _ in range(count)
        ]
        notes = [create("notes", work_order=o["id"], text="x") for o in orders]
        doomed = [create("work_orders", **wales.order()) for _ in range(count)]
        with CaptureQueriesContext(
            connection,
        ) as first:
            assert set(outcomes(dora.push(*notes, *orders, *doomed))) == {"created"}
        with CaptureQueriesContext(connection) as second:
            edits = [update("work_orders", o["id"], 1, title="b", tasks=[]) for o in orders]
            ends = [delete("work_orders", o["id"], 1) for o in doomed]
            assert set(outcomes(dora.push(*edits, *ends))) == {"updated", "deleted"}
        return len(first) + len(second)

    cost(1)  # what is compiled once, is compiled

    assert cost(3) == cost(90)


def test_append_only_rows_stay(alice: Phone, wales: World) -> None:
    """Notes are evidence."""
    order = create("work_orders", **wales.order())
    note = create("notes", work_order=order["id"], text="rust")
    alice.push(order, note)

    results = alice.push(
        update("notes", note["id"], 1, text="gold"), delete("notes", note["id"], 1)
    )

    assert outcomes(results) == ["forbidden", "forbidden"]
    assert Note.objects.get(pk=note["id"]).text == "rust"
    assert ChangeRow.objects.get(collection="notes", row_id=note["id"]).version == 1
