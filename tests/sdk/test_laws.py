"""Laws: whatever phones do and whatever the network does to them, it all comes right.

random edits on several phones  +  faults, kills, restores, lost cursors
-> heal -> sync until quiet -> nothing lost, nothing doubled, replicas equal, outboxes empty
"""

from __future__ import annotations

import itertools
import json
import random
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

from conftest import Phone
from hypothesis import HealthCheck, given, settings, strategies as st
from reference_server import Fault, ReferenceServer

import fieldsync
from fieldsync.errors import FieldsyncError
from fieldsync.merge import Candidate, Edit, choose_batch, coalesce, find_cut, local_view
from fieldsync.retry import RetryBudget, RetryPolicy
from fieldsync.wire import Op

PHONES = 3
COLLECTIONS = ("work_orders", "inspections")
FIELDS = ("a", "b", "c")
QUIET_ROUNDS_MAX = 12

edits = st.tuples(
    st.sampled_from(["create", "update", "update", "update", "delete"]),
    st.integers(0, PHONES - 1),
    st.integers(0, 5),  # which of the rows
    st.sampled_from(FIELDS),
    st.sampled_from(COLLECTIONS),
)
faults = st.lists(st.none() | st.sampled_from(list(Fault)), max_size=9)
syncs = st.tuples(st.just("sync"), st.integers(0, PHONES - 1), faults, st.booleans())
kills = st.tuples(st.just("kill"), st.integers(0, PHONES - 1), st.integers(1, 4000))
rows_max = st.tuples(st.just("rows_max"), st.sampled_from([1, 2, 1000]))
office = st.tuples(st.sampled_from(["delete_row", "edit_row", "prune", "gone"]), st.integers(0, 5))
steps = st.lists(st.one_of(edits, syncs, syncs, kills, rows_max, office), max_size=40)


class World:
    """Phones of one user, their server, and every value that anybody ever wrote."""

    def __init__(self, folder: Path) -> None:
        self.server = ReferenceServer()
        self.phones = [
            Phone(self.server, folder / f"{at}.db", push_rows_max=3, rng=random.Random(at)).login()
            for at in range(PHONES)
        ]
        self.serial = itertools.count()
        self.ids = [f"row-{at}" for at in range(6)]
        self.written: list[
            tuple[int, str, str, str, str]
        ] = []  # phone, collection, id, field, value
        self.created: set[tuple[int, str, str]] = set()

    def do(self, step: tuple[Any, ...]) -> None:
        """One step; what a phone may not do is skipped."""
        match step:
            case ("sync", at, faults, edits_meanwhile):
                self.sync(at, faults, edits_meanwhile=edits_meanwhile)
            case ("kill", at, instructions):
                self.kill(at, instructions)
            case ("rows_max", number):
                self.server.rows_max = number
            case ("prune", _):
                self.server.prune()
            case ("gone", _):
                self.server.gone_code = "scopes_changed"
            case ("delete_row" | "edit_row" as what, row):
                self.office(what, self.ids[row])
            case (op, at, row, field, collection):
                self.edit(op, at, self.ids[row], field, collection)

    def edit(self, op: str, at: int, row_id: str, field: str, collection: str) -> None:
        """An edit with a value that is unique in this world."""
        rows = self.phones[at][collection]
        value = f"v{next(self.serial)}"
        row_id = f"{collection}-{row_id}"
        try:
            match op:
                case "create":
                    rows.create({field: value}, id=row_id)
                case "update":
                    rows.update(row_id, {field: value})
                case _:
                    rows.delete(row_id)
        except fieldsync.RowRefused:
            return
        if op != "delete":
            self.written.append((at, collection, row_id, field, value))

    def office(self, what: str, row_id: str) -> None:
        """Somebody at a desk."""
        for collection in COLLECTIONS:
            name = f"{collection}-{row_id}"
            if name in self.server.live(collection):
                if what == "delete_row":
                    self.server.delete(collection, name)
                else:
                    self.server.edit(collection, name, office=f"o{next(self.serial)}")

    def sync(self, at: int, faults: list[Fault | None], *, edits_meanwhile: bool = False) -> None:
        """One sync under faults, with an edit while its first request is under way."""

        def edit_once(path: str) -> None:
            self.server.before_answer = lambda path: None
            self.edit("update", at, self.ids[0], "a", COLLECTIONS[0])
            self.edit("create", at, self.ids[1], "b", COLLECTIONS[1])

        if edits_meanwhile:
            self.server.before_answer = edit_once
        self.server.faults.clear()
        self.server.faults.extend(faults)  # None: that request goes well
        try:
            self.phones[at].sync()
        except (fieldsync.Unreachable, fieldsync.AuthRequired):
            pass
        finally:
            self.server.faults.clear()
            self.server.before_answer = lambda path: None

    def kill(self, at: int, instructions: int) -> None:
        """The process dies in the middle of some statement of a sync, and starts again."""
        phone = self.phones[at]
        connection = phone.client._engine._store.connection
        countdown = iter(range(instructions, -1, -1))
        connection.set_progress_handler(lambda: next(countdown, 0) == 0, 10)
        try:
            phone.sync()
        except (sqlite3.OperationalError, FieldsyncError):
            pass
        phone.client._engine._store.connection.set_progress_handler(None, 0)
        phone.restart()

    def heal(self) -> None:
        """A good network, until nothing moves any more."""
        self.server.rows_max = 1000
        for _ in range(QUIET_ROUNDS_MAX):
            reports = [phone.sync() for phone in self.phones]
            if not any(report.pushed or report.pulled for report in reports):
                return
        raise AssertionError("never quiet")

    def accounted(self) -> set[str]:
        """Every value that the server ever applied, or that an issue still holds."""
        values = set()
        for phone in self.phones:
            for issue in phone.client.issues():
                values |= {value for value in issue.mine.values() if isinstance(value, str)}
        return values

    def close(self) -> None:
        """Close all stores."""
        for phone in self.phones:
            phone.client.close()


def last_of_own(world: World) -> dict[tuple[int, str, str, str], str]:
    """The last value that each phone wrote into each field: the one that may not get lost."""
    return {(at, kind, row_id, name): value for at, kind, row_id, name, value in world.written}


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps)
def test_phones_converge_and_nothing_is_lost_or_doubled(steps: list[tuple[Any, ...]]) -> None:
    """The whole promise of the SDK in one property."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        history: set[str] = set()
        log = world.server._log

        def keep_history(name: Any, row: Any, device: str) -> None:
            history.update(str(value) for value in row.data.values())
            if row.is_deleted and device != "office":
                history.add(f"deleted {name}")
            log(name, row, device)

        world.server._log = keep_history  # type: ignore[method-assign]
        try:
            for step in steps:
                world.do(step)
            world.heal()
            check(world, history)
        finally:
            world.close()


def check(world: World, history: set[str]) -> None:
    """The invariants, once all is quiet."""
    for phone in world.phones:
        status = phone.client.status()
        assert (status.pending, status.sent, status.acked_unseen) == (0, 0, 0)
        for collection in COLLECTIONS:
            assert phone.view(collection) == world.server.live(collection)

    times = [(device, key, row_id) for device, key, _, row_id in world.server.applied]
    assert len(times) == len(set(times))

    held = world.accounted()
    for (at, collection, row_id, _), value in last_of_own(world).items():
        # A phone's own delete ends what it had written before.
        was_deleted = f"deleted {(collection, row_id)}" in history or deletes_waiting(
            world.phones[at], row_id
        )
        assert value in history or value in held or was_deleted, (at, row_id, value)

    assert all(len({body for _, body in group}) == 1 for group in by_key(world.server).values())


def deletes_waiting(phone: Phone, row_id: str) -> bool:
    """Whether the phone's delete of the row is an issue, or never had to be sent."""
    return any(issue.row_id == row_id and issue.op == "delete" for issue in phone.client.issues())


def by_key(server: ReferenceServer) -> dict[str, list[tuple[str, bytes]]]:
    """The pushes of each key."""
    groups: dict[str, list[tuple[str, bytes]]] = {}
    for key, body in server.pushes():
        groups.setdefault(key, []).append((key, body))
    return groups


# merge


data = st.dictionaries(st.sampled_from(FIELDS), st.integers(0, 3))
edit_of = st.one_of(
    st.builds(lambda fields: Edit(op=Op.UPDATE, data=fields, base_version=1), data),
    st.just(Edit(op=Op.DELETE, data={}, base_version=1)),
)


@given(data, st.lists(edit_of, min_size=1, max_size=5))
def test_coalesced_edits_show_the_same_row(server: dict[str, int], made: list[Edit]) -> None:
    """However many edits are one mutation, the local view is the same."""
    one: Edit | None = made[0]
    until_delete = [made[0]]
    for edit in made[1:]:
        if until_delete[-1].op is Op.DELETE:
            break
        until_delete.append(edit)
        assert one is not None
        one = coalesce(one, edit)

    assert one is not None
    assert local_view(server, [one]) == local_view(server, until_delete)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([Op.CREATE, Op.UPDATE]),
            st.none() | st.integers(0, 12),
            st.frozensets(st.sampled_from("GHI"), max_size=2),
        ),
        max_size=12,
    ),
    st.integers(1, 5),
)
def test_batches_keep_groups_whole_and_take_everything(
    drawn: list[tuple[Op, int | None, frozenset[str]]], rows_max: int
) -> None:
    """Any outbox drains, in whole groups, and a lone row never waits for its child."""
    left = [
        Candidate(
            seq=at,
            row_id=f"r{at}",
            edit=Edit(op=op, data={"parent": f"r{ref}"}, base_version=1, groups=groups),
        )
        for at, (op, ref, groups) in enumerate(drawn)
    ]
    all_of_them = len(left)
    gone: set[int] = set()
    for _ in range(all_of_them + 1):
        batch = choose_batch(left, rows_max=rows_max)
        if not batch:
            break
        names = {name for candidate, _ in batch for name in candidate.edit.groups}
        gone |= {candidate.seq for candidate, _ in batch}
        left = [candidate for candidate in left if candidate.seq not in gone]
        assert not any(candidate.edit.groups & names for candidate in left)
        assert len(batch) <= rows_max or len({name for _, name in batch}) == 1
        sent_as = {candidate.row_id: name for candidate, name in batch}
        for candidate, _ in batch:
            assert (
                len({sent_as[c.row_id] for c, _ in batch if c.edit.groups & candidate.edit.groups})
                <= 1
            )
    assert (left, len(gone)) == ([], all_of_them)


def test_parents_go_before_children_across_batches() -> None:
    """A row edited early may point to one made later."""
    pump = Candidate(seq=2, row_id="pump", edit=Edit(op=Op.CREATE, data={}))
    order = Candidate(
        seq=1,
        row_id="order",
        edit=Edit(op=Op.UPDATE, data={"links": [{"asset": "pump"}]}, base_version=1),
    )

    batch = choose_batch([order, pump], rows_max=1)

    assert [candidate.row_id for candidate, _ in batch] == ["pump"]


@given(
    st.lists(st.none() | st.sampled_from("GH"), max_size=9).map(
        lambda names: sorted(names, key=str)
    )
)
def test_cut_never_parts_a_group(names: list[str | None]) -> None:
    """Neither half is empty, and no name is on both sides."""
    cut = find_cut(names)

    if cut is None:
        assert len(names) < 2 or (names[0] is not None and len(set(names)) == 1)
    else:
        assert 0 < cut < len(names)
        assert not (set(names[:cut]) & set(names[cut:])) - {None}


@given(st.integers(0, 2**32), st.lists(st.none() | st.floats(0, 100), max_size=30))
def test_retry_budget_ends(seed: int, asked: list[float | None]) -> None:
    """Never more waiting than the policy allows, never less than the server asked for."""
    policy = RetryPolicy(attempts_max=5, wait_s_max=40)
    budget = RetryBudget(policy, random.Random(seed))

    waits = []
    for retry_after_s in asked:
        wait_s = budget.next_wait_s(retry_after_s)
        if wait_s is None:
            break
        assert wait_s >= (retry_after_s or 0)
        waits.append(wait_s)

    assert len(waits) < policy.attempts_max
    assert sum(waits) <= policy.wait_s_max


def test_frozen_bodies_are_what_is_sent(server: Any, phone: Any) -> None:
    """A push body names its policy and only what changed."""
    row_id = phone["work_orders"].create({"title": "x"}, id="w1")
    phone.sync()

    ((key, body),) = server.pushes()

    assert key == f'"{key[1:-1]}"'
    assert json.loads(body) == {
        "policy": "per_row",
        "mutations": [
            {"op": "create", "collection": "work_orders", "id": row_id, "data": {"title": "x"}}
        ],
    }
