"""A pull: everything of the device's own slice, nothing else, in pages that end."""

from __future__ import annotations

import uuid

import pytest

from backend.fieldwork.models import Site, WorkOrder
from sync import local_edits
from sync.models import Stream
from tests.phones import PULL, Phone, World, create, delete, new_id, update


def test_first_sync_brings_live_rows_once_at_their_newest(dora: Phone, wales: World) -> None:
    """However often a row was edited; and nothing of what was deleted before."""
    order, doomed = (create("work_orders", **wales.order()) for _ in range(2))
    dora.push(order, doomed)
    for version in range(1, 4):
        dora.push(update("work_orders", order["id"], version, title=f"{wales.canary} {version}"))
    dora.push(delete("work_orders", doomed["id"], 1))

    changes = wales.hire().pull()

    of_order = [c for c in changes if c["id"] == order["id"]]
    assert [(c["op"], c["version"], c["own"]) for c in of_order] == [("upsert", 4, False)]
    assert doomed["id"] not in {c["id"] for c in changes}


def test_later_pull_brings_edits_and_tombstones(dora: Phone, bob: Phone, wales: World) -> None:
    """A delete is told with its version."""
    order, doomed = (create("work_orders", **wales.order()) for _ in range(2))
    dora.push(order, doomed)
    bob.pull()
    dora.push(
        update("work_orders", order["id"], 1, priority=1), delete("work_orders", doomed["id"], 1)
    )

    changes = {c["id"]: c for c in bob.pull()}

    assert changes[order["id"]]["data"]["priority"] == 1
    assert (changes[doomed["id"]]["op"], changes[doomed["id"]]["version"]) == ("delete", 2)
    assert bob.pull() == []


def test_own_edits_are_marked(alice: Phone, bob: Phone, wales: World) -> None:
    """A client can tell its echo from news."""
    order = create("work_orders", **wales.order())
    alice.push(order)

    def own(phone: Phone) -> list[bool]:
        return [c["own"] for c in phone.pull() if c["id"] == order["id"]]

    assert (own(alice), own(bob)) == ([True], [False])


def test_ten_thousand_rows_of_one_transaction_in_pages_of_100(alice: Phone, wales: World) -> None:
    """Pages end, none is full of nothing, and every row comes once."""
    local_edits.apply(
        wales.tenant.pk,
        [
            local_edits.create("sites", {"name": f"s{n}", "territory": wales.cardiff})
            for n in range(10_000)
        ],
    )

    seen: list[str] = []
    for _ in range(200):
        page = alice.pull_page(limit=100)
        seen += [c["id"] for c in page["changes"]]
        if not page["has_more"]:
            break

    assert not page["has_more"]
    assert len(seen) == len(set(seen))
    assert len([1 for name, _ in alice.rows if name == "sites"]) == 10_001
    assert alice.pull_page(limit=100)["changes"] == []


def test_rows_deleted_during_a_first_sync_are_told(dora: Phone, wales: World) -> None:
    """The phone has read the row already; leaving its tombstone out would keep it for ever."""
    orders = [create("work_orders", **wales.order()) for _ in range(6)]
    dora.push(*orders)
    phone = wales.hire()
    while ("work_orders", orders[0]["id"]) not in phone.rows:
        phone.pull_page(limit=2)
    dora.push(delete("work_orders", orders[0]["id"], 1))

    phone.pull(limit=2)

    assert ("work_orders", orders[0]["id"]) not in phone.rows
    assert ("work_orders", orders[5]["id"]) in phone.rows


def test_device_sees_its_slice_only(alice: Phone, wales: World) -> None:
    """Cardiff's rows, what is assigned to her anywhere, and the territories themselves."""
    dora = wales.hire("dispatcher")
    here, there, mine = (
        create("work_orders", **wales.order(site=site, **extra))
        for site, extra in (
            (wales.site, {}),
            (wales.other_site, {}),
            (wales.other_site, {"assignee": str(alice.user_id)}),
        )
    )
    dora.push(here, there, mine)

    alice.pull()

    orders = {row_id for name, row_id in alice.rows if name == "work_orders"}
    assert orders == {here["id"], mine["id"]}
    assert {row_id for name, row_id in alice.rows if name == "territories"} == {
        wales.cardiff,
        wales.newport,
    }


def test_row_in_two_of_her_scopes_comes_once(alice: Phone, wales: World) -> None:
    """It is in her territory and assigned to her: one change, one line."""
    order = create("work_orders", **wales.order(assignee=str(alice.user_id)))
    alice.push(order)

    changes = [c for c in alice.pull() if c["id"] == order["id"]]

    assert len(changes) == 1


def test_reassigned_row_leaves_one_phone_and_enters_the_other_with_its_children(
    alice: Phone, wales: World
) -> None:
    """The note was written long before; the new technician gets it all the same."""
    tom, dora = wales.hire(territories=[]), wales.hire("dispatcher")
    order = create(
        "work_orders", **wales.order(site=wales.other_site, assignee=str(alice.user_id))
    )
    note = create("notes", work_order=order["id"], text="rust")
    dora.push(order, note)
    alice.pull()
    tom.pull()
    assert ("notes", note["id"]) in alice.rows

    dora.push(update("work_orders", order["id"], 1, assignee=str(tom.user_id)))
    exits = {(c["op"], c["id"]) for c in alice.pull()}
    tom.pull()

    assert exits == {("scope_exit", order["id"]), ("scope_exit", note["id"])}
    assert {("work_orders", order["id"]), ("notes", note["id"])} <= tom.rows.keys()
    assert tom.version("notes", note["id"]) == 1


def test_site_that_moves_takes_everything_below_along(alice: Phone, wales: World) -> None:
    """Three levels deep, none of it edited."""
    tom = wales.hire(territories=[wales.newport])
    asset = create("assets", site=wales.site, tag="p1", category="pump")
    order = create("work_orders", **wales.order(asset=asset["id"]))
    note = create("notes", work_order=order["id"], text="rust")
    alice.push(asset, order, note)
    alice.pull()
    tom.pull()

    site = Site.objects.get(pk=wales.site)
    site.territory_id = uuid.UUID(wales.newport)
    site.save()
    alice.pull()
    tom.pull()

    moved = {
        ("sites", wales.site),
        ("assets", asset["id"]),
        ("work_orders", order["id"]),
        ("notes", note["id"]),
    }
    assert moved <= tom.rows.keys()
    assert not moved & alice.rows.keys()
    assert outcome_of(alice, order["id"]) == "not_found"


def outcome_of(phone: Phone, row_id: str) -> str:
    outcome: str = phone.push(update("work_orders", row_id, 1, title="late"))[0]["outcome"]
    return outcome


@pytest.mark.past_the_engine
def test_restored_database_is_noticed(alice: Phone, wales: World) -> None:
    """A new epoch, or a head behind the cursor even if nobody thought of the epoch."""
    alice.push(create("work_orders", **wales.order()))
    alice.pull()
    stream = Stream.objects.filter(tenant_id=wales.tenant.pk)
    for change in ({"head": 1}, {"epoch": uuid.uuid4()}):
        stream.update(**change)

        answer = alice.send("GET", f"{PULL}?cursor={alice.cursor}")

        assert (answer.status_code, answer.json()["code"]) == (410, "epoch_changed")


def test_cursor_below_the_kept_tombstones_is_refused(alice: Phone, wales: World) -> None:
    """Never a page with holes."""
    alice.pull()
    alice.push(*(create("work_orders", **wales.order()) for _ in range(3)))
    stream = Stream.objects.get(tenant_id=wales.tenant.pk)
    Stream.objects.filter(pk=stream.pk).update(floor=stream.head)

    answer = alice.send("GET", f"{PULL}?cursor={alice.cursor}")
    assert (answer.status_code, answer.json()["code"]) == (410, "cursor_expired")

    alice.cursor = None
    assert len(alice.pull()) > 0


def test_cursor_with_any_byte_flipped_is_refused(alice: Phone, wales: World) -> None:
    """It is signed; what was not made here says so, and nothing of the feed."""
    alice.pull()
    assert alice.cursor is not None
    for position in range(len(alice.cursor)):
        letter = "A" if alice.cursor[position] != "A" else "B"
        flipped = alice.cursor[:position] + letter + alice.cursor[position + 1 :]

        answer = alice.send("GET", f"{PULL}?cursor={flipped}")

        assert (answer.status_code, answer.json()["code"]) == (400, "cursor_invalid"), position


def test_cursor_has_one_spelling(alice: Phone, wales: World) -> None:
    """base64 ignores the last bits of the last letter; a cursor with other ones is not ours."""
    alice.pull()
    assert alice.cursor is not None
    for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=":
        other = alice.cursor[:-1] + letter
        if other != alice.cursor:
            assert alice.send("GET", f"{PULL}?cursor={other}").status_code == 400, letter


@pytest.mark.parametrize("cursor", ["x", "%00", "é", "A" * 5_000, "AAAA", "=="])
def test_nonsense_cursor_is_a_400(cursor: str, alice: Phone) -> None:
    """Whatever it is made of."""
    answer = alice.send("GET", f"{PULL}?cursor={cursor}")

    assert (answer.status_code, answer.json()["code"]) == (400, "cursor_invalid")


def test_cursor_of_another_tenant_is_refused(alice: Phone, northwind: World) -> None:
    """Even though the same server made it."""
    nina = northwind.hire()
    nina.pull()

    answer = alice.send("GET", f"{PULL}?cursor={nina.cursor}")

    assert (answer.status_code, answer.json()["code"]) == (400, "cursor_invalid")


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=x",
        "limit=-1",
        "limit=1e2",
        "limit=" + "9" * 50,
        "collections=nonsense",
    ],
)
def test_bad_parameters_are_named(query: str, alice: Phone) -> None:
    """A 400 that says which and why."""
    answer = alice.send("GET", f"{PULL}?{query}")

    assert (answer.status_code, answer.json()["code"]) == (400, "parameter_invalid")
    assert answer.json()["errors"][0]["path"] == query.partition("=")[0]


def test_collections_narrow_the_feed(alice: Phone, wales: World) -> None:
    """A kiosk that shows sites does not read the work orders."""
    alice.push(create("work_orders", **wales.order()))
    page = alice.send("GET", f"{PULL}?collections=sites").json()

    assert {c["collection"] for c in page["changes"]} == {"sites"}


def test_office_writes_reach_the_feed(alice: Phone, wales: World) -> None:
    """save, update, delete, bulk_create: whatever Django offers."""
    alice.pull()
    site = Site(tenant_id=wales.tenant.pk, name="new", territory_id=uuid.UUID(wales.cardiff))
    site.save()
    site.name = "newer"
    site.save()
    more = [
        Site(tenant_id=wales.tenant.pk, name=f"b{n}", territory_id=uuid.UUID(wales.cardiff))
        for n in range(3)
    ]
    Site.objects.bulk_create(more)
    Site.objects.filter(pk__in=[more[0].pk, more[1].pk]).update(customer="c")
    Site.objects.filter(pk=more[2].pk).delete()
    order = WorkOrder(tenant_id=wales.tenant.pk, kind="repair", site_id=site.pk, title="t")
    order.save()

    alice.pull()

    assert alice.rows["sites", str(site.pk)][0] == 2
    assert alice.row("sites", str(site.pk))["name"] == "newer"
    assert [alice.row("sites", str(row.pk))["customer"] for row in more[:2]] == ["c", "c"]
    assert ("sites", str(more[2].pk)) not in alice.rows
    assert alice.row("work_orders", str(order.pk))["title"] == "t"


def test_every_role_starts_with_its_own_slice(wales: World) -> None:
    """Dispatcher, admin and auditor see the tenant; a technician without territory sees none of it."""
    counts = {}
    for role in ("dispatcher", "admin", "auditor", "technician"):
        phone = wales.hire(role, territories=[])
        phone.pull()
        counts[role] = len([1 for name, _ in phone.rows if name == "sites"])

    assert counts == {"dispatcher": 2, "admin": 2, "auditor": 2, "technician": 0}


def test_auditor_reads_and_never_writes(wales: World) -> None:
    """All outcomes are forbidden."""
    otto = wales.hire("auditor", territories=[])

    (result,) = otto.push(create("work_orders", new_id(), **wales.order()))

    assert result["outcome"] == "forbidden"


def test_what_is_assigned_below_a_site_that_moves_stays_with_its_assignee(
    dora: Phone, wales: World
) -> None:
    """It is carried along with what it hands down, and keeps the scope of its own."""
    tom = wales.hire(territories=[])
    order = create("work_orders", **wales.order(assignee=str(tom.user_id)))
    note = create("notes", work_order=order["id"], text="rust")
    dora.push(order, note)

    dora.push(update("sites", wales.site, 1, territory=wales.newport))

    tom.pull()
    assert {("work_orders", order["id"]), ("notes", note["id"])} <= tom.rows.keys()


def test_row_is_edited_in_the_push_that_moves_what_it_hangs_below(
    dora: Phone, wales: World
) -> None:
    """Sent in any order, the edit goes where its site goes."""
    newport = wales.hire(territories=[wales.newport])
    order = create("work_orders", **wales.order())
    note = create("notes", work_order=order["id"], text="rust")
    dora.push(order, note)

    dora.push(
        update("work_orders", order["id"], 1, priority=1),
        update("sites", wales.site, 1, territory=wales.newport),
    )

    newport.pull()
    assert newport.row("work_orders", order["id"])["priority"] == 1
    assert ("notes", note["id"]) in newport.rows


def test_row_below_one_that_is_only_carried_along_goes_with_it(dora: Phone, wales: World) -> None:
    """The site moves; the asset was not touched, but what hangs below it was, in the same push.

    New and edited rows alike: they are told once, where the site is now, and to nobody else.
    """
    cardiff, newport = wales.hire(), wales.hire(territories=[wales.newport])
    asset = create("assets", site=wales.site, category="Boiler")
    order = create("work_orders", **wales.order())
    old = create("inspections", asset=asset["id"], template_code="T")
    dora.push(asset, order, old)
    cardiff.pull()
    note = create("notes", work_order=order["id"], text="rust")
    new = create("inspections", asset=asset["id"], template_code="T")

    dora.push(
        note,
        new,
        update("inspections", old["id"], 1, template_version=2),
        update("sites", wales.site, 1, territory=wales.newport),
    )

    told = [(c["collection"], c["id"]) for c in newport.pull()]
    below = {("notes", note["id"]), ("inspections", new["id"]), ("inspections", old["id"])}
    assert below <= newport.rows.keys()
    assert len(told) == len(set(told))
    assert newport.version("inspections", old["id"]) == 2
    cardiff.pull()
    assert not below & cardiff.rows.keys()
