"""Tombstones: they are kept as long as the setting says, and go with the floor."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from sync import local_edits
from sync.clock import utc_now
from sync.models import ChangeRow, Entry, ParkedMutation
from tests.phones import PULL, Phone, World, create, delete, update
from tests.sync.aging import DAY, let_pass, prune, pruning, stream, told
from tests.sync.agreement import findings_of
from tests.sync.history import live_through


def bury(phone: Phone, world: World, count: int = 1) -> list[str]:
    """Create orders and delete them; return their ids."""
    orders = [create("work_orders", **world.order()) for _ in range(count)]
    phone.push(*orders)
    phone.push(*(delete("work_orders", order["id"], 1) for order in orders))
    return [order["id"] for order in orders]


def pulled(phone: Phone) -> tuple[int, str | None]:
    """Return the status and the code of the phone's next pull."""
    answer = phone.send("GET", f"{PULL}?cursor={phone.cursor}")
    return answer.status_code, answer.json().get("code")


def test_old_tombstone_goes_and_the_floor_is_raised_to_it(phone: Phone, wales: World) -> None:
    """In all of the tables, and nothing else goes."""
    bury(phone, wales)
    ((seq,),) = ChangeRow.objects.filter(op="delete").values_list("seq")
    live = set(Entry.objects.filter(op="upsert").values_list("scope", "row_id", "seq"))
    let_pass(wales.tenant.pk, 90.1)

    floor = prune(wales.tenant.pk)

    assert floor == seq
    assert told(wales.tenant.pk) == set()
    assert set(Entry.objects.values_list("scope", "row_id", "seq")) == live
    assert findings_of(wales) == []


def test_tombstones_are_kept_for_as_long_as_the_setting_says(
    phone: Phone, wales: World, settings: Any
) -> None:
    """And no day less: phones come back after a season."""
    for _ in range(3):
        bury(phone, wales)
        let_pass(wales.tenant.pk, 20)  # they are 60, 40 and 20 days old
    let_pass(wales.tenant.pk, 29)
    first, second, third = sorted(told(wales.tenant.pk))

    assert prune(wales.tenant.pk) == 0
    let_pass(wales.tenant.pk, 2)
    assert prune(wales.tenant.pk) == first
    assert told(wales.tenant.pk) == {second, third}

    settings.SYNC = {**settings.SYNC, "TOMBSTONE_DAYS": 70}
    assert prune(wales.tenant.pk) == second
    assert told(wales.tenant.pk) == {third}


def test_exits_go_like_tombstones(wales: World) -> None:
    """A scope that a row has left tells so for as long."""
    live_through(wales)
    exits = Entry.objects.filter(op="scope_exit")
    assert exits.count() > 1
    let_pass(wales.tenant.pk, 91)

    floor = prune(wales.tenant.pk)

    assert exits.count() == 0
    assert 0 < floor <= stream(wales.tenant.pk).head
    assert findings_of(wales) == []


def test_floor_stays_where_nothing_goes(phone: Phone, wales: World, northwind: World) -> None:
    """Edits alone cost nobody a fresh pull, nor do the tombstones of other tenants."""
    phone.push(create("work_orders", **wales.order()))
    nina = northwind.hire("dispatcher")
    bury(nina, northwind)
    for world in (wales, northwind):
        let_pass(world.tenant.pk, 400)

    call_command("sync_prune", stdout=io.StringIO(), stderr=io.StringIO())

    assert stream(wales.tenant.pk).floor == 0
    assert stream(northwind.tenant.pk).floor > 0


def test_clock_that_is_behind_takes_no_young_tombstone_along(phone: Phone, wales: World) -> None:
    """A server that believes in last year has numbered its change behind the young ones."""
    bury(phone, wales)
    phone.push(create("work_orders", **wales.order()))
    ChangeRow.objects.filter(seq=stream(wales.tenant.pk).head).update(
        changed_at=utc_now() - 400 * DAY
    )

    assert prune(wales.tenant.pk) == 0
    assert len(told(wales.tenant.pk)) == 1


def test_clock_that_is_ahead_does_not_keep_everything_for_ever(phone: Phone, wales: World) -> None:
    """A change from the future is never too old; what lies behind it is, one day."""
    ChangeRow.objects.filter(seq=1).update(changed_at=utc_now() + 20_000 * DAY)
    bury(phone, wales)
    ChangeRow.objects.filter(seq__gt=1).update(changed_at=utc_now() - 91 * DAY)

    assert prune(wales.tenant.pk) == stream(wales.tenant.pk).head


def test_tombstone_of_a_row_in_no_scope_goes_too(phone: Phone, wales: World) -> None:
    """No entry leads to it."""
    bury(phone, wales, 3)
    ChangeRow.objects.filter(op="delete").update(scopes=[])
    Entry.objects.filter(op="delete").delete()
    let_pass(wales.tenant.pk, 91)

    floor = prune(wales.tenant.pk, chunk_rows=2)

    assert told(wales.tenant.pk) == set()
    assert floor == stream(wales.tenant.pk).head


@pytest.mark.parametrize("chunk_rows", [1, 2, 5])
def test_every_chunk_leaves_a_feed_that_is_right(
    phone: Phone, wales: World, chunk_rows: int
) -> None:
    """However a prune ends: the floor is the newest of what is gone, and rows and feed agree."""
    live_through(wales)
    bury(phone, wales, 4)
    let_pass(wales.tenant.pk, 91)
    before = told(wales.tenant.pk)
    gone: set[int] = set()

    for _ in pruning(wales.tenant.pk, chunk_rows):
        last, gone = gone, before - told(wales.tenant.pk)
        assert len(gone - last) <= chunk_rows
        assert stream(wales.tenant.pk).floor == max(gone)
        assert min(before - gone, default=max(gone) + 1) > max(gone)
        assert findings_of(wales) == []

    assert told(wales.tenant.pk) == set()


def test_parent_that_is_deleted_with_all_below_it(phone: Phone, wales: World) -> None:
    """Tombstones have scopes of their own: none needs its parent's."""
    asset = create("assets", site=wales.site, category="pump")
    order = create("work_orders", **wales.order(asset=asset["id"]))
    note = create("notes", work_order=order["id"], text="rust")
    phone.push(asset, order, note)
    phone.push(
        *(delete(each["collection"], each["id"], 1) for each in (note, order, asset)),
        policy="all_or_nothing",
    )
    let_pass(wales.tenant.pk, 91)

    for _ in pruning(wales.tenant.pk, 1):
        assert findings_of(wales) == []

    assert told(wales.tenant.pk) == set()


def test_row_whose_tombstone_is_pruned_never_was(phone: Phone, wales: World) -> None:
    """An edit was `gone` and is `not_found`; its id is free again, and devices get the new row."""
    (row_id,) = bury(phone, wales)
    phone.pull()
    again = create("work_orders", row_id, **wales.order())

    def outcomes() -> list[str]:
        late = update("work_orders", row_id, 1, title="late"), delete("work_orders", row_id, 1)
        return [phone.push(each)[0]["outcome"] for each in late]

    assert outcomes() == ["gone", "unchanged"]
    assert phone.push(again)[0]["outcome"] == "gone"
    let_pass(wales.tenant.pk, 91)
    prune(wales.tenant.pk)

    assert outcomes() == ["not_found", "not_found"]
    (created,) = phone.push(again)
    phone.pull()

    assert (created["outcome"], created["version"]) == ("created", 1)
    assert phone.version("work_orders", row_id) == 1
    assert findings_of(wales) == []


def test_only_cursors_below_the_floor_are_refused(phone: Phone, wales: World) -> None:
    """Who has heard of all that is gone goes on; who has not pulls afresh, and has the same rows."""
    late, early = wales.hire("dispatcher"), wales.hire("dispatcher")
    orders = bury(phone, wales, 3)
    late.pull()
    phone.push(delete("sites", wales.other_site, 1))
    early.pull()
    let_pass(wales.tenant.pk, 91)

    prune(wales.tenant.pk)
    assert pulled(late) == (410, "cursor_expired")
    assert pulled(early) == (200, None)

    late.cursor, late.rows = None, {}
    late.pull()
    early.pull()
    assert late.rows == early.rows
    assert not {("work_orders", row_id) for row_id in orders} & late.rows.keys()


def test_first_sync_that_began_before_a_prune_goes_on(phone: Phone, wales: World) -> None:
    """It never had the rows that were deleted before it began."""
    bury(phone, wales, 3)
    phone.push(*(create("work_orders", **wales.order()) for _ in range(6)))
    new = wales.hire("dispatcher")
    new.pull_page(limit=2)
    phone.pull()
    let_pass(wales.tenant.pk, 91)

    prune(wales.tenant.pk)
    new.pull(limit=2)
    phone.pull()

    assert new.rows == phone.rows


def test_row_deleted_and_pruned_during_a_first_sync_is_no_ghost(
    phone: Phone, wales: World
) -> None:
    """A phone that broke off for months has read rows whose tombstones are gone."""
    order = create("work_orders", **wales.order())
    phone.push(order)
    slow = wales.hire("dispatcher")
    while ("work_orders", order["id"]) not in slow.rows:
        slow.pull_page(limit=1)
    phone.push(delete("work_orders", order["id"], 1))
    let_pass(wales.tenant.pk, 91)

    prune(wales.tenant.pk)

    assert pulled(slow) == (410, "cursor_expired")


def test_dry_run_counts_what_is_deleted_then(phone: Phone, wales: World) -> None:
    """Lines of both tables, of all tenants."""
    live_through(wales)
    bury(phone, wales, 3)
    let_pass(wales.tenant.pk, 91)
    lines = ChangeRow.objects.count() + Entry.objects.count()

    def rows(*arguments: str) -> int:
        out = io.StringIO()
        command = ("sync_prune", "--only", "tombstones", "--json", *arguments)
        call_command(*command, stdout=out, stderr=io.StringIO())
        found: int = json.loads(out.getvalue())["tombstones"]["rows"]
        return found

    promised, done = rows("--dry-run"), rows("--chunk", "2")

    assert promised == done == lines - ChangeRow.objects.count() - Entry.objects.count() > 0
    assert rows() == 0


def test_pruning_reads_what_is_pruned_and_no_more(phone: Phone, wales: World) -> None:
    """A chunk holds the stream's lock: it must not read a tenant's live rows meanwhile."""
    local_edits.apply(
        wales.tenant.pk, [local_edits.create("work_orders", wales.order()) for _ in range(2_000)]
    )
    bury(phone, wales, 20)
    let_pass(wales.tenant.pk, 91)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE sync_entry, sync_change")

    with CaptureQueriesContext(connection) as queries:
        prune(wales.tenant.pk, chunk_rows=5, chunks=1)

    (statement,) = {q["sql"] for q in queries if "DELETE FROM sync_entry" in q["sql"]}
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {statement}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "sync_entry_prunable" in plan
    assert "Tid Scan on sync_change" in plan
    assert not re.search(r"Seq Scan on sync_(entry|change)", plan), plan


def test_settled_mutations_are_pruned_and_open_ones_never(wales: World, settings: Any) -> None:
    """What waits for a supervisor is somebody's work, however old."""
    wales.tenant.has_quarantine = True
    wales.tenant.save()
    alice, dora = wales.hire(), wales.hire("dispatcher")
    parked = [
        line["quarantine_id"]
        for line in alice.push(*(create("work_orders", **wales.order(kind="x")) for _ in range(3)))
    ]
    for parked_id in parked[:2]:
        dora.send("POST", f"/api/v1/sync/quarantine/{parked_id}/discard/", {})
    ParkedMutation.objects.update(created_at=utc_now() - 3_000 * DAY)
    for parked_id, days in zip(parked, (364, 366), strict=False):
        settled = ParkedMutation.objects.filter(pk=parked_id)
        assert settled.update(settled_at=utc_now() - days * DAY) == 1

    def kept() -> set[str]:
        call_command("sync_prune", stdout=io.StringIO(), stderr=io.StringIO())
        return {str(found) for found in ParkedMutation.objects.values_list("pk", flat=True)}

    assert kept() == {parked[0], parked[2]}

    settings.SYNC = {**settings.SYNC, "QUARANTINE_DAYS": 300}
    assert kept() == {parked[2]}
