"""What is refused and kept: which mutations, for whom to see, and at what price."""

from __future__ import annotations

import uuid
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from backend.accounts.models import Membership
from backend.fieldwork.models import Note, WorkOrder
from sync import local_edits
from sync.errors import EditRefused
from sync.models import ParkedMutation
from tests.desk import QUARANTINE, apply, kept, page, settle, turn_on
from tests.phones import Phone, World, create, delete, new_id, update
from tests.scenarios.reading import outcomes


@pytest.fixture
def wales(wales: World) -> World:
    return turn_on(wales)


@pytest.fixture
def sam(wales: World) -> Phone:
    """Return the phone of Cardiff's supervisor."""
    return wales.hire("supervisor")


def bad_order(world: World, **data: Any) -> dict[str, Any]:
    return create("work_orders", **world.order(priority=9, **data))


# --- the story --------------------------------------------------------------------------------


def test_late_work_of_a_reassigned_technician_is_kept_and_signed(
    wales: World, alice: Phone, bob: Phone, sam: Phone
) -> None:
    """Alice was moved to Newport while she had no network; her visit in Cardiff did happen."""
    order = create("work_orders", **wales.order())
    bob.push(order)
    alice.pull()
    Membership.objects.filter(user_id=alice.user_id).update(territories=[UUID(wales.newport)])
    bob.push(update("work_orders", order["id"], 1, title=f"{wales.canary} big pump"))
    done = update("work_orders", order["id"], 1, status="done")
    note = create("notes", work_order=order["id"], text="Changed the seal")

    results = alice.push(done, note)
    alice.pull()
    parked = kept(sam)
    for each in parked:
        assert apply(sam, each["id"])["outcome"] in {"updated", "created"}
    bob.pull()

    assert outcomes(results) == ["quarantined", "quarantined"]
    assert [line["refused"] for line in results] == ["not_found", "dependency_failed"]
    assert [each["id"] for each in parked] == [line["quarantine_id"] for line in results]
    assert {each["user_id"] for each in parked} == {str(alice.user_id)}
    row = bob.row("work_orders", order["id"])
    assert (row["status"], row["title"]) == ("done", f"{wales.canary} big pump")
    assert bob.row("notes", note["id"])["author"] == str(alice.user_id)
    assert ("work_orders", order["id"]) not in alice.rows
    assert kept(sam) == []


def test_late_edit_of_a_deleted_row_goes_to_where_it_was(
    wales: World, alice: Phone, dora: Phone, sam: Phone
) -> None:
    """The row is gone, and alice is elsewhere; Cardiff's supervisor knows what it was about."""
    order = create("work_orders", **wales.order())
    alice.push(order)
    dora.push(delete("work_orders", order["id"], 1))
    Membership.objects.filter(user_id=alice.user_id).update(territories=[UUID(wales.newport)])

    (line,) = alice.push(update("work_orders", order["id"], 1, status="done"))

    assert [each["id"] for each in kept(sam)] == [line["quarantine_id"]]
    assert kept(wales.hire("supervisor", [wales.newport])) == []


def test_quarantine_is_off_unless_the_tenant_turned_it_on(northwind: World, wales: World) -> None:
    """A refusal is then an issue of the phone alone, as the app was built for."""
    nick, nina = northwind.hire(), northwind.hire("dispatcher")

    results = nick.push(bad_order(northwind))

    assert outcomes(results) == ["invalid"]
    assert "quarantine_id" not in results[0]
    assert kept(nina) == []


# --- what is kept -----------------------------------------------------------------------------


def refused_in_every_way(wales: World, phone: Phone) -> dict[str, dict[str, Any]]:
    """Return a mutation for each outcome of a refusal, all about rows of Cardiff."""
    edited, deleted, hidden = (create("work_orders", **wales.order()) for _ in range(3))
    dora = wales.hire("dispatcher")
    dora.push(edited, deleted, hidden)
    dora.push(
        update("work_orders", edited["id"], 1, title=f"{wales.canary} b"),
        delete("work_orders", deleted["id"], 1),
        update("work_orders", hidden["id"], 1, site=wales.other_site),
    )
    bad = bad_order(wales)
    return {
        "conflict": update("work_orders", edited["id"], 1, title="c"),
        "gone": update("work_orders", deleted["id"], 1, title="c"),
        "invalid": bad,
        "forbidden": delete("work_orders", edited["id"], 2),
        "not_found": update("work_orders", hidden["id"], 1, title="c"),
        "dependency_failed": create("notes", work_order=bad["id"], text="rust"),
    }


def test_every_kind_of_refusal_is_kept_as_it_was_sent(wales: World, alice: Phone) -> None:
    """With the reason, so that a supervisor can judge it without the phone."""
    sent = refused_in_every_way(wales, alice)
    dora = wales.hire("dispatcher")
    key = str(uuid.uuid4())

    results = alice.push(*list(sent.values()), key=key)

    by_id = {each["id"]: each for each in kept(dora)}
    assert set(outcomes(results)) == {"quarantined"}
    assert [line["refused"] for line in results] == list(sent)
    for line, mutation in zip(results, sent.values(), strict=True):
        each = by_id[line["quarantine_id"]]
        assert each["mutation"] == {"data": {}, **mutation}
        assert (each["refused"], each["code"]) == (line["refused"], line["code"])
        assert (each["state"], each["key"], each["device_id"]) == (
            "open",
            key,
            str(alice.device_id),
        )


def test_mutation_that_only_fell_with_its_group_is_not_kept(
    wales: World, alice: Phone, sam: Phone
) -> None:
    """Nothing is wrong with it: the phone sends it again with the rest, and it would be done twice."""
    order = create("work_orders", group="visit", **wales.order())
    note = create("notes", group="visit", work_order=order["id"], text="")

    results = alice.push(order, note)

    assert outcomes(results) == ["not_applied", "quarantined"]
    assert results[0]["blocked_by"]["index"] == 1
    assert "quarantine_id" not in results[0]
    assert [each["id"] for each in kept(sam)] == [results[1]["quarantine_id"]]


def test_of_very_many_errors_only_the_first_are_kept(
    wales: World, alice: Phone, sam: Phone
) -> None:
    """The list is for people; a broken app could fill the disk with the rest."""
    tasks = [{"id": new_id(), "text": "", "position": n} for n in range(150)]

    (line,) = alice.push(create("work_orders", **wales.order(tasks=tasks)))

    (parked,) = kept(sam)
    assert len(line["errors"]) == 150
    assert parked["errors"] == line["errors"][:100]


@pytest.mark.parametrize(("is_conflict", "status"), [(True, 409), (False, 422)])
def test_status_of_a_push_goes_by_what_was_refused(
    is_conflict: bool, status: int, wales: World, alice: Phone
) -> None:
    """Kept is not applied: the app must look at the report as it always did."""
    order = create("work_orders", **wales.order())
    alice.push(order)
    edit = update("work_orders", order["id"], 9, title="b") if is_conflict else bad_order(wales)

    answer = alice.push_raw({"mutations": [edit, create("work_orders", **wales.order())]})

    report = answer.json()
    assert (answer.status_code, report["status"]) == (status, status)
    assert report["code"] == "batch_rejected"
    assert outcomes(report["results"]) == ["quarantined", "not_applied"]


def test_report_keeps_all_that_the_refusal_says(wales: World, alice: Phone) -> None:
    """An app that knows nothing of quarantine still shows why."""
    order = create("work_orders", **wales.order())
    alice.push(order)
    alice.push(update("work_orders", order["id"], 1, title=f"{wales.canary} b"))

    conflict, invalid = alice.push(
        update("work_orders", order["id"], 1, title="c"), bad_order(wales)
    )

    assert (conflict["code"], conflict["fields"]) == ("version_mismatch", ["title"])
    assert (conflict["base_version"], conflict["version"]) == (1, 2)
    assert conflict["current"]["title"] == f"{wales.canary} b"
    assert invalid["errors"][0]["path"] == "priority"


def test_dry_run_keeps_nothing(wales: World, alice: Phone, sam: Phone) -> None:
    """It asks what would be refused; nothing was done that could be lost."""
    body = {"policy": "per_row", "validate_only": True, "mutations": [bad_order(wales)]}

    results = alice.push_raw(body).json()["results"]

    assert outcomes(results) == ["invalid"]
    assert kept(sam) == []


def test_what_the_office_is_refused_is_not_kept(wales: World, sam: Phone) -> None:
    """Whoever sits there sees the refusal, and mends it."""
    with pytest.raises(EditRefused):
        local_edits.apply(wales.tenant.pk, [local_edits.create("work_orders", {"kind": "x"})])

    assert not ParkedMutation.objects.exists()


# --- once -------------------------------------------------------------------------------------


def test_resent_push_names_the_same_parked_mutation(
    wales: World, alice: Phone, sam: Phone
) -> None:
    """The answer was lost: the same bytes come back, and nothing is kept twice."""
    body, key = {"policy": "per_row", "mutations": [bad_order(wales)]}, str(uuid.uuid4())
    first = alice.push_raw(body, key)

    again = alice.push_raw(body, key)

    assert again.content == first.content
    assert again["Idempotency-Replayed"] == "true"
    assert len(kept(sam)) == 1


def test_same_mutation_under_a_new_key_is_kept_once(
    wales: World, alice: Phone, bob: Phone, sam: Phone
) -> None:
    """A phone that tries again every hour must not bury the supervisor."""
    mutation = bad_order(wales)
    (first,) = alice.push(mutation)

    (again,) = alice.push(mutation)
    twice = alice.push(mutation, mutation, bad_order(wales))
    (edited,) = alice.push({**mutation, "data": {**mutation["data"], "title": "Other"}})
    (other,) = bob.push(mutation)

    same = [again["quarantine_id"], *(line["quarantine_id"] for line in twice[:2])]
    assert set(same) == {first["quarantine_id"]}
    different = {line["quarantine_id"] for line in (first, twice[2], edited, other)}
    assert len(different) == len(kept(sam)) == 4


def test_mutation_sent_again_after_it_was_discarded_is_kept_anew(
    wales: World, alice: Phone, sam: Phone
) -> None:
    """The phone insists: the supervisor is asked again."""
    mutation = bad_order(wales)
    (first,) = alice.push(mutation)
    settle(sam, first["quarantine_id"], "discard")

    (again,) = alice.push(mutation)

    assert again["quarantine_id"] != first["quarantine_id"]
    assert [each["id"] for each in kept(sam)] == [again["quarantine_id"]]


def test_push_that_is_rolled_back_keeps_nothing(wales: World, alice: Phone, sam: Phone) -> None:
    """The database gives up after the parking: the phone has no answer, and nobody has the entry."""
    mutation, key = bad_order(wales), str(uuid.uuid4())
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION give_up() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE SQLSTATE '40001'; END $$;"
            "CREATE TRIGGER give_up BEFORE UPDATE ON sync_request"
            " FOR EACH ROW EXECUTE FUNCTION give_up()"
        )

    failed = alice.push_raw({"policy": "per_row", "mutations": [mutation]}, key)

    assert (failed.status_code, failed.json()["code"]) == (503, "temporarily_unavailable")
    assert kept(sam) == []
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER give_up ON sync_request")
    assert outcomes(alice.push(mutation, key=key)) == ["quarantined"]
    assert len(kept(sam)) == 1


# --- for whom ---------------------------------------------------------------------------------


def test_other_territories_and_other_tenants_see_nothing(
    wales: World, northwind: World, alice: Phone, sam: Phone
) -> None:
    """To them it does not exist, whatever they try. The answers are searched for canaries."""
    (line,) = alice.push(bad_order(wales, description=f"{wales.canary} leak"))
    parked_id = line["quarantine_id"]
    strangers = [
        northwind.hire("admin"),
        wales.hire("supervisor", [wales.newport]),
        turn_on(northwind).hire("supervisor"),
    ]

    for stranger in strangers:
        assert kept(stranger) == []
        answers = [
            stranger.send("GET", f"{QUARANTINE}{parked_id}/"),
            settle(stranger, parked_id, "apply"),
            settle(stranger, parked_id, "discard"),
        ]
        assert {(a.status_code, a.json()["code"]) for a in answers} == {
            (404, "quarantine_not_found")
        }
    assert [each["id"] for each in kept(sam)] == [parked_id]


@pytest.mark.parametrize("role", ["technician", "auditor"])
def test_only_reviewers_look_and_settle(role: str, wales: World, alice: Phone) -> None:
    """Not even those who did the work: they would approve it themselves."""
    (line,) = alice.push(bad_order(wales))
    phone = wales.hire(role)

    for answer in (
        phone.send("GET", QUARANTINE),
        phone.send("GET", f"{QUARANTINE}{line['quarantine_id']}/"),
        settle(phone, line["quarantine_id"], "apply"),
        settle(phone, line["quarantine_id"], "discard"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "review_forbidden")


def test_what_belongs_to_no_row_goes_to_the_supervisors_of_whoever_made_it(
    wales: World, alice: Phone, sam: Phone
) -> None:
    """A work order without a site is nowhere; somebody must see it all the same."""
    nowhere = create("work_orders", **{**wales.order(), "site": 5})
    unknown = create("nonsense", title="?")
    missing = update("work_orders", new_id(), 1, title="?")

    results = alice.push(nowhere, unknown, missing)

    ids = [line["quarantine_id"] for line in results]
    assert [each["id"] for each in kept(sam)] == ids
    assert [each["id"] for each in kept(wales.hire("dispatcher"))] == ids
    assert kept(wales.hire("supervisor", [wales.newport])) == []


def test_work_of_somebody_without_a_territory_is_seen_by_every_reviewer(
    wales: World, northwind: World, sam: Phone
) -> None:
    """Else only they would hold its scope, and nobody would ever look. Of their tenant, that is."""
    lost = wales.hire(territories=[])

    lost.push(update("work_orders", new_id(), 1, title="?"))

    (parked,) = kept(sam)
    assert kept(wales.hire("supervisor", [wales.newport])) == [parked]
    nina = northwind.hire("dispatcher")
    assert kept(nina) == []
    assert nina.send("GET", f"{QUARANTINE}{parked['id']}/").status_code == 404


def test_work_below_a_row_that_was_refused_too_is_seen_with_it(
    wales: World, alice: Phone, sam: Phone
) -> None:
    """The note of a refused work order is where that was to be; of an accepted one, where it is."""
    newport = wales.hire("technician", [wales.newport, wales.cardiff])
    refused, accepted = bad_order(wales), create("work_orders", **wales.order())
    notes = [create("notes", work_order=o["id"], text="") for o in (refused, accepted)]

    newport.push(refused, accepted, *notes)

    assert len(kept(sam)) == 3
    assert kept(wales.hire("supervisor", [wales.newport])) == []


def test_id_that_is_taken_elsewhere_shows_nothing_to_those_who_took_it(
    wales: World, alice: Phone, sam: Phone
) -> None:
    """Two rows with one id by chance have nothing to do with each other."""
    tom, teresa = (
        wales.hire(territories=[wales.newport]),
        wales.hire("supervisor", [wales.newport]),
    )
    theirs = create("work_orders", **wales.order(site=wales.other_site))
    tom.push(theirs)

    (line,) = alice.push(create("work_orders", theirs["id"], **wales.order()))

    assert (line["refused"], line["code"]) == ("conflict", "id_taken")
    assert "current" not in line
    assert kept(teresa) == []
    assert len(kept(sam)) == 1


# --- the list ---------------------------------------------------------------------------------


def test_list_is_read_in_pages(wales: World, alice: Phone, sam: Phone) -> None:
    """Oldest first, in the order of the push, none twice and none left out."""
    results = alice.push(*(bad_order(wales) for _ in range(7)))
    ids = [line["quarantine_id"] for line in results]
    found: list[str] = []

    for _ in range(10):
        last = {"after": found[-1]} if found else {}
        part = page(sam, limit=3, **last)
        found += [each["id"] for each in part["parked"]]
        if not part["has_more"]:
            break

    assert found == ids
    assert kept(sam, state="applied") == kept(sam, state="discarded") == []


def test_page_is_bounded_in_bytes_too(
    wales: World, alice: Phone, sam: Phone, settings: Any
) -> None:
    """What is refused may be as large as a whole push; a hundred of these are no answer."""
    ids = [
        alice.push(bad_order(wales, description="x" * 3_000))[0]["quarantine_id"] for _ in range(3)
    ]
    settings.SYNC = {
        **settings.SYNC,
        "BODY_BYTES_MAX": 2_000,
    }  # one alone is more, and still comes

    first = page(sam)
    second = page(sam, after=ids[0])

    assert [each["id"] for each in first["parked"]] == ids[:1]
    assert [each["id"] for each in second["parked"]] == ids[1:2]
    assert first["has_more"]
    assert second["has_more"]
    assert not page(sam, after=ids[1])["has_more"]


@pytest.mark.parametrize(
    ("query", "name"),
    [("state=gone", "state"), ("limit=0", "limit"), ("limit=101", "limit"), ("limit=x", "limit"),
     ("after=x", "after")],
)  # fmt: skip
def test_bad_parameter_is_named(query: str, name: str, wales: World, sam: Phone) -> None:
    """A typing error must not look like an empty list."""
    answer = sam.send("GET", f"{QUARANTINE}?{query}")

    assert (answer.status_code, answer.json()["code"]) == (400, "parameter_invalid")
    assert answer.json()["errors"][0]["path"] == name


# --- cost -------------------------------------------------------------------------------------


def test_quarantine_costs_nothing_when_nothing_is_refused(
    wales: World, northwind: World, alice: Phone
) -> None:
    """Most pushes are all right."""
    nick = northwind.hire()

    def cost(phone: Phone, world: World) -> int:
        with CaptureQueriesContext(connection) as queries:
            phone.push(create("work_orders", **world.order()))
        return len(queries)

    cost(nick, northwind)
    cost(alice, wales)  # what is compiled once, is compiled

    assert cost(alice, wales) == cost(nick, northwind)


def test_number_of_queries_does_not_depend_on_how_much_is_kept(wales: World, alice: Phone) -> None:
    """New ones, and ones that are kept already: 3 of each cost as much as 90."""

    def cost(count: int) -> int:
        known = [bad_order(wales) for _ in range(count)]
        alice.push(*known)
        orders = [bad_order(wales) for _ in range(count)]
        notes = [create("notes", work_order=order["id"], text="") for order in orders]
        with CaptureQueriesContext(connection) as queries:
            assert set(outcomes(alice.push(*known, *orders, *notes))) == {"quarantined"}
        return len(queries)

    cost(1)

    assert cost(3) == cost(90)


def test_nothing_of_it_reaches_the_tables_or_the_feed(wales: World, alice: Phone) -> None:
    """Kept is not applied."""
    alice.pull()

    alice.push(bad_order(wales), create("notes", work_order=new_id(), text="x"))

    assert alice.pull() == []
    assert not WorkOrder.objects.exists()
    assert not Note.objects.exists()
