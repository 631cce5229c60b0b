"""Tombstones are pruned while devices pull and push: 410 below the floor, and nothing is skipped."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from django.db import connection

from backend.fieldwork.access import resolve_device
from sync import epochs
from sync.models import ChangeRow
from tests.crowd import at_once
from tests.faults.rig import wait_until
from tests.faults.sessions import session, sessions_waiting
from tests.faults.test_locks_in_order import deadlocks_so_far
from tests.phones import PULL, Phone, World, create, delete, new_id
from tests.sync.aging import let_pass, prune, stream, told
from tests.sync.agreement import findings_of

PUSHERS, ROUNDS, ROWS = 3, 8, 12
ROUNDS_MAX = 5_000  # a loop that has not ended by then never does


@pytest.fixture(autouse=True)
def patience(settings: Any) -> None:
    """Let pushes wait for each other as long as it takes: a slow machine is no deadlock."""
    settings.SYNC = {**settings.SYNC, "LOCK_WAIT_MS": 60_000}


def truth(phone: Phone) -> dict[tuple[str, str], int]:
    """Return the rows in the scopes that the phone holds, with their versions, as the log has them."""
    device = resolve_device(phone.device_id)
    assert device is not None
    live = ChangeRow.objects.filter(
        tenant_id=phone.tenant_id, op="upsert", scopes__overlap=sorted(device.actor.scopes)
    )
    return {(row.collection, row.row_id): row.version for row in live}


def replica(phone: Phone) -> dict[tuple[str, str], int]:
    return {key: version for key, (version, _) in phone.rows.items()}


def pull_or_begin_again(phone: Phone, limit: int) -> bool:
    """Pull a page; a refused phone forgets its cursor. Return whether it was refused."""
    answer = phone.send("GET", f"{PULL}?limit={limit}&cursor={phone.cursor or ''}")
    if answer.status_code == 410:
        assert answer.json()["code"] == "cursor_expired"
        phone.cursor, phone.rows = None, {}
        return True
    page = answer.json()
    for change in page["changes"]:
        key = change["collection"], change["id"]
        phone.rows.pop(key, None)
        if change["op"] == "upsert":
            phone.rows[key] = change["version"], change["data"]
    phone.cursor = page["cursor"]
    return False


@pytest.mark.parametrize("moment", ["sync_stream", "sync_entry"])
def test_prune_in_the_midst_of_a_pull_leaves_no_hole_in_its_page(
    wales: World, moment: str
) -> None:
    """Whatever is committed between two statements of a pull, its cursor passes nothing unread."""
    dora, phone = wales.hire("dispatcher"), wales.hire("dispatcher")
    order = create("work_orders", **wales.order())
    dora.push(order)
    phone.pull()
    dora.push(delete("work_orders", order["id"], 1), create("work_orders", **wales.order()))
    let_pass(wales.tenant.pk, 91)
    pruned: list[int] = []

    def prune_first(execute: Any, sql: str, *rest: Any) -> Any:
        if moment in sql and not pruned:
            pruned.append(0)
            pruned[:] = at_once([partial(prune, wales.tenant.pk)])
        return execute(sql, *rest)

    with connection.execute_wrapper(prune_first):
        is_refused = pull_or_begin_again(phone, limit=100)

    assert pruned == [stream(wales.tenant.pk).floor]
    assert pruned[0] > 0
    assert is_refused or replica(phone) == truth(phone)


@dataclasses.dataclass(kw_only=True)
class Season:
    """Phones that push, phones that pull, and months that pass in between."""

    world: World
    is_over: threading.Event = dataclasses.field(default_factory=threading.Event)
    made: list[str] = dataclasses.field(default_factory=list)

    def push_all(self) -> None:
        try:
            at_once([partial(self._push, which) for which in range(PUSHERS)])
        finally:
            self.is_over.set()

    def tidy(self) -> None:
        """Let a season pass, again and again: what is pruned are the rows of a moment ago."""
        floor = 0
        for _ in self._rounds():
            let_pass(self.world.tenant.pk, 91)
            last, floor = floor, prune(self.world.tenant.pk, chunk_rows=3)
            assert floor >= last

    def pull(self, phone: Phone) -> None:
        for _ in self._rounds():
            pull_or_begin_again(phone, limit=5)

    def _push(self, which: int) -> None:
        """Make and delete rows of the same ids, again as soon as their tombstones are pruned."""
        phone = self.world.hire("dispatcher")
        ids = [new_id() for _ in range(ROWS)]
        site = self.world.site if which % 2 else self.world.other_site
        for _ in range(ROUNDS):
            orders = [
                create("work_orders", row_id, **self.world.order(site=site)) for row_id in ids
            ]
            lines = phone.push(*orders)
            assert {line["outcome"] for line in lines} <= {"created", "gone"}, lines
            made = [line["id"] for line in lines if line["outcome"] == "created"]
            self.made.extend(made)
            phone.push(*(delete("work_orders", row_id, 1) for row_id in made))

    def _rounds(self) -> Iterator[None]:
        """Go on until the last push is over, and once more after it."""
        for _ in range(ROUNDS_MAX):
            was_over = self.is_over.is_set()
            yield
            if was_over:
                return
        raise AssertionError("it never came to an end")


@pytest.mark.own_session
def test_pruning_beside_pulls_and_pushes(wales: World) -> None:
    """Rows are deleted, forgotten, and made again under their ids; nobody waits in a circle."""
    late = wales.hire("dispatcher")
    late.pull()
    pullers = [wales.hire("dispatcher"), wales.hire(), wales.hire(territories=[wales.newport])]
    season = Season(world=wales)

    with session(autocommit=True) as watcher:
        before = deadlocks_so_far(watcher)
        works: list[Callable[[], None]] = [season.push_all, season.tidy, season.tidy]
        works += [partial(season.pull, phone) for phone in pullers]
        at_once(works)
        assert deadlocks_so_far(watcher) == before

    assert len(season.made) > PUSHERS * ROWS  # some were made twice, or nothing was tried here
    assert findings_of(wales) == []
    assert pull_or_begin_again(late, limit=100)
    for phone in (*pullers, late):
        pull_or_begin_again(phone, limit=5)
        phone.pull(limit=5)
        assert replica(phone) == truth(phone)


def test_pruning_holds_up_no_push_for_more_than_a_chunk(wales: World) -> None:
    """The stream is free between any two chunks, and as soon as one is killed."""
    dora = wales.hire("dispatcher")
    orders = [create("work_orders", **wales.order()) for _ in range(6)]
    dora.push(*orders)
    dora.push(*(delete("work_orders", order["id"], 1) for order in orders))
    let_pass(wales.tenant.pk, 91)

    prune(wales.tenant.pk, chunk_rows=1, chunks=2)
    (answer,) = at_once(
        [partial(dora.push_raw, {"mutations": [create("work_orders", **wales.order())]})]
    )

    assert answer.status_code == 200
    assert len(told(wales.tenant.pk)) == 4


def test_many_cursors_ahead_at_once_start_one_epoch(
    wales: World, caplog: pytest.LogCaptureFixture
) -> None:
    """At eight in the morning after a restore, all phones come with theirs."""
    before = stream(wales.tenant.pk)

    def note() -> None:
        epochs.note_cursor_ahead(wales.tenant.pk, epoch=before.epoch, seq=before.head + 5)

    at_once([note] * 8)

    after = stream(wales.tenant.pk)
    assert after.epoch != before.epoch
    assert after.head == before.head
    assert len([r for r in caplog.records if r.name == "sync.epochs"]) == 1


def test_cursor_ahead_that_a_push_overtakes_starts_nothing(wales: World) -> None:
    """The head is looked at again under its lock."""
    before = stream(wales.tenant.pk)

    def note() -> None:
        epochs.note_cursor_ahead(wales.tenant.pk, epoch=before.epoch, seq=before.head + 5)

    with session() as pushing, session(autocommit=True) as watcher:
        pushing.execute("UPDATE sync_stream SET head = head + 5")

        def commit() -> None:
            wait_until(lambda: sessions_waiting(watcher) == 1)
            pushing.commit()

        at_once([note, commit])

    assert stream(wales.tenant.pk).epoch == before.epoch
