"""A device that holds other scopes than before: it lets go of some rows, and gets others."""

from __future__ import annotations

import dataclasses
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from backend.accounts.models import Membership
from sync import feed
from tests.phones import PULL, Phone, World, create, delete, new_id, update


def give(phone: Phone, *territories: str, role: str = "technician") -> None:
    """Let the phone's user hold these territories, as the office does it."""
    Membership.objects.filter(user_id=phone.user_id).update(
        territories=[UUID(t) for t in territories], role=role
    )


def at(site: str, count: int, world: World) -> list[dict[str, Any]]:
    """Return pushes of new work orders at a site."""
    return [create("work_orders", **world.order(site=site)) for _ in range(count)]


def fresh(phone: Phone) -> dict[tuple[str, str], tuple[int, dict[str, Any]]]:
    """Return what a new phone of the same person would hold."""
    other = dataclasses.replace(phone, cursor=None, rows={})
    other.pull()
    return other.rows


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 1_000])
def test_moved_technician_lets_go_and_gets_the_new(
    limit: int, alice: Phone, dora: Phone, wales: World
) -> None:
    """Cardiff goes row by row, then Newport comes with everything that was there all along."""
    dora.push(*at(wales.site, 5, wales), *at(wales.other_site, 5, wales))
    alice.pull()
    give(alice, wales.newport)

    changes = alice.pull(limit)

    assert alice.rows == fresh(alice)
    ops = [change["op"] for change in changes]
    assert ops == sorted(ops), "what is let go comes before what is new"
    assert ops.count("scope_exit") == 6
    assert ops.count("upsert") == 6


def test_nothing_is_told_twice_when_nothing_more_changes(alice: Phone, wales: World) -> None:
    """One more pull behind the change is as idle as any."""
    alice.pull()
    give(alice, wales.cardiff, wales.newport)
    assert alice.pull() != []

    assert alice.pull() == []


def test_row_in_a_scope_still_held_stays(alice: Phone, dora: Phone, wales: World) -> None:
    """Her own work order in Cardiff stays hers; the site and the others go."""
    mine = create("work_orders", **wales.order(assignee=str(alice.user_id)))
    dora.push(mine, *at(wales.site, 2, wales))
    alice.pull()
    give(alice, wales.newport)

    changes = alice.pull()

    assert mine["id"] not in {change["id"] for change in changes}
    assert ("work_orders", mine["id"]) in alice.rows
    assert alice.rows == fresh(alice)


@pytest.mark.parametrize("pages", range(1, 13))
def test_changed_again_in_the_middle_and_back(
    pages: int, alice: Phone, dora: Phone, wales: World
) -> None:
    """Reassigned, half told, and sent back: what was let go meanwhile comes again."""
    dora.push(*at(wales.site, 4, wales), *at(wales.other_site, 4, wales))
    alice.pull()
    give(alice, wales.newport)
    for _ in range(pages):
        alice.pull_page(1)
    give(alice, wales.cardiff)

    alice.pull(2)

    assert alice.rows == fresh(alice)


@pytest.mark.parametrize("pages", range(1, 13))
def test_row_moves_while_the_change_is_told(
    pages: int, alice: Phone, dora: Phone, wales: World
) -> None:
    """Rows go from lost to gained and back, are deleted and edited, between any two pages."""
    orders = [*at(wales.site, 4, wales), *at(wales.other_site, 4, wales)]
    dora.push(*orders)
    alice.pull()
    give(alice, wales.newport)
    for _ in range(pages):
        alice.pull_page(1)
    old, new = orders[:4], orders[4:]
    dora.push(
        update("work_orders", old[0]["id"], 1, site=wales.other_site),
        update("work_orders", new[0]["id"], 1, site=wales.site),
        update("work_orders", old[1]["id"], 1, title=f"{wales.canary} edited"),
        update("work_orders", new[1]["id"], 1, title=f"{wales.canary} edited"),
        delete("work_orders", old[2]["id"], 1),
        delete("work_orders", new[2]["id"], 1),
    )

    alice.pull(3)

    assert alice.rows == fresh(alice)


def test_row_seen_through_both_that_then_leaves_both(
    alice: Phone, dora: Phone, wales: World
) -> None:
    """Kept, since the gained scope sees it; gone before that scope was told: so it must be told."""
    order = create("work_orders", **wales.order(assignee=str(alice.user_id)))
    dora.push(order, *at(wales.other_site, 3, wales))
    bob = wales.hire(territories=[wales.cardiff])
    bob.pull()
    dora.push(update("work_orders", order["id"], 1, assignee=str(bob.user_id)))
    bob.pull()
    give(bob, wales.newport)
    bob.pull_page(1)
    dora.push(update("work_orders", order["id"], 2, assignee=None))

    bob.pull(1)

    assert ("work_orders", order["id"]) not in bob.rows
    assert bob.rows == fresh(bob)


def test_change_in_the_middle_of_a_first_sync(alice: Phone, dora: Phone, wales: World) -> None:
    """What was read so far goes; what was not read never came."""
    doomed = at(wales.site, 3, wales)
    dora.push(*at(wales.site, 3, wales), *doomed, *at(wales.other_site, 3, wales))
    alice.pull_page(4)
    dora.push(*(delete("work_orders", order["id"], 1) for order in doomed))
    give(alice, wales.newport)

    alice.pull(2)

    assert alice.rows == fresh(alice)


def test_promoted_and_demoted(alice: Phone, dora: Phone, wales: World) -> None:
    """A dispatcher sees the whole tenant; once they are none, only their own again."""
    dora.push(*at(wales.site, 2, wales), *at(wales.other_site, 2, wales))
    alice.pull()
    before = dict(alice.rows)
    give(alice, wales.cardiff, role="dispatcher")
    alice.pull(2)
    assert alice.rows == fresh(alice) != before
    give(alice, wales.cardiff)
    alice.pull(2)

    assert alice.rows == fresh(alice) == before


def test_other_collections_are_a_change_too(alice: Phone, dora: Phone, wales: World) -> None:
    """A new version of the app asks for more, another for less: with the cursor it has."""
    dora.push(*at(wales.site, 2, wales))

    def pull(collections: str) -> set[str]:
        cursor = f"&cursor={alice.cursor}" if alice.cursor else ""
        page = alice.send("GET", f"{PULL}?collections={collections}{cursor}").json()
        alice.cursor = page["cursor"]
        assert not page["has_more"]
        return {f"{change['op']} {change['collection']}" for change in page["changes"]}

    assert pull("sites") == {"upsert sites"}
    assert pull("sites,work_orders") == {"upsert work_orders"}
    assert pull("work_orders") == {"scope_exit sites"}
    assert pull("sites") == {"scope_exit work_orders", "upsert sites"}
    assert "upsert work_orders" in pull("")


def test_losing_very_many_scopes_is_told_page_by_page(alice: Phone, wales: World) -> None:
    """Each lost scope is a query: a page makes a bounded number of them, and says that it goes on."""
    alice.pull()
    give(alice, wales.cardiff, *(new_id() for _ in range(3 * feed.STEPS_MAX)))
    alice.pull()
    give(alice, wales.cardiff)

    with CaptureQueriesContext(
        connection,
    ) as queries:
        page = alice.pull_page()

    assert page["has_more"]
    assert len(queries) < feed.STEPS_MAX + 10
    assert alice.pull() == []


def test_unknown_scope_set_is_a_fresh_pull(alice: Phone, wales: World) -> None:
    """What the cursor names must be there when it counts; else nothing is guessed."""
    alice.pull()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM sync_scope_set")
    assert alice.pull() == []
    give(alice, wales.newport)

    answer = alice.send("GET", f"{PULL}?cursor={alice.cursor}")

    assert (answer.status_code, answer.json()["code"]) == (410, "cursor_expired")


def test_sets_are_stored_once(alice: Phone, wales: World) -> None:
    """However many phones hold them; the hash is of what they are, not of their order."""
    second = wales.phone_of(
        Membership.objects.get(user_id=alice.user_id).user, install_id="second"
    )
    for phone in (alice, second, alice):
        phone.cursor = None
        phone.pull()

    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM sync_scope_set")
        assert cursor.fetchone() == (1,)
