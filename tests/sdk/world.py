"""World: several phones, their server, and everything that any of them ever wrote.

    random steps  ->  World.do  ->  heal  ->  check: nothing lost, nothing twice, replicas equal

Every value is written once in a world, so that a value in a field says whose edit it was.
"""

from __future__ import annotations

import itertools
import json
import random
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
from hypothesis import strategies as st
from phone import Phone

import fieldsync
from fieldsync.errors import FieldsyncError
from fieldsync.testing import FakeServer, Fault, Row

PHONES = 3
COLLECTIONS = ("work_orders", "inspections")
FIELDS = ("a", "b", "c")
QUIET_ROUNDS_MAX = 12
Name = tuple[str, str]
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # thousands of commits a history need no disk
MEMORY = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None

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
visits = st.tuples(st.just("visit"), st.integers(0, PHONES - 1), st.integers(0, 4), st.booleans())
backups = st.tuples(st.sampled_from(["backup", "restore"]))
steps = st.lists(st.one_of(edits, syncs, syncs, kills, rows_max, office, visits), max_size=40)
steps_and_restores = st.lists(st.one_of(edits, edits, syncs, syncs, office, backups), max_size=40)

Written = tuple[int, str, str, str, str]  # phone, collection, id, field, value


class WatchedServer(FakeServer):
    """A server whose every change is noted: which value came into which field, how often."""

    def __init__(self) -> None:
        super().__init__()
        self.forget_history()

    def forget_history(self) -> None:
        """Begin a new history with the rows as they are."""
        self.applied.clear()
        self.known: dict[Name, Row] = dict(self.state.rows)
        self.times = Counter(
            (name, field, value)
            for name, row in self.known.items()
            for field, value in row.data.items()
        )

    def handle(self, request: httpx2.Request) -> httpx2.Response:
        """One request, watched."""
        try:
            return super().handle(request)
        finally:
            self.watch()

    def watch(self) -> None:
        """Note what has changed since the last look."""
        for name, row in self.state.rows.items():
            before = self.known.get(name)
            if before is row:
                continue
            old = before.data if before else {}
            self.times.update(
                (name, field, value)
                for field, value in row.data.items()
                if old.get(field) != value
            )
            self.known[name] = row


class World:
    """Phones of one user, their server, and every value that anybody ever wrote."""

    def __init__(self, folder: Path) -> None:
        self.server = WatchedServer()
        self.phones = [
            Phone(self.server, folder / f"{at}.db", push_rows_max=3, rng=random.Random(at)).login()
            for at in range(PHONES)
        ]
        self.serial = itertools.count()
        self.ids = [f"row-{at}" for at in range(6)]
        self.written: list[Written] = []
        self.backup = self.server.backup()

    def do(self, step: tuple[Any, ...]) -> None:
        """One step; what a phone may not do is skipped."""
        match step:
            case ("sync", at, faults, edits_meanwhile):
                self.sync(at, faults, edits_meanwhile=edits_meanwhile)
            case ("kill", at, instructions):
                self.kill(at, instructions)
            case ("visit", at, row, is_bad):
                self.visit(at, self.ids[row], self.ids[row + 1], is_bad=is_bad)
            case (op, at, row, field, collection):
                self.edit(op, at, self.ids[row], field, collection)
            case _:
                self.do_at_the_server(step)

    def do_at_the_server(self, step: tuple[Any, ...]) -> None:
        """A step of operators or of somebody at a desk."""
        match step:
            case ("rows_max", number):
                self.server.rows_max = number
            case ("backup",):
                self.backup = self.server.backup()
            case ("restore",):
                self.restore()
            case ("prune", _):
                self.server.prune()
            case ("gone", _):
                self.server.gone_code = "scopes_changed"
            case (what, row):
                self.office(what, self.ids[row])
            case _:
                raise AssertionError(step)

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
        if op == "delete":  # what was not sent yet need never be
            mine = (at, collection, row_id)
            self.written = [each for each in self.written if each[:3] != mine]
        else:
            self.written.append((at, collection, row_id, field, value))

    def visit(self, at: int, one: str, two: str, *, is_bad: bool) -> None:
        """A group of two edits of one phone; a bad one takes the other with it."""
        with self.phones[at].client.group(f"visit-{next(self.serial)}"):
            self.edit("create", at, one, "a", COLLECTIONS[0])
            self.edit("create", at, two, "b", COLLECTIONS[1])
            if is_bad:
                self.phones[at][COLLECTIONS[0]].create({"c": "BAD"})

    def restore(self) -> None:
        """The server goes back to its backup; what a phone had already pulled cannot come back."""
        waiting = set().union(*(values_waiting(phone) for phone in self.phones))
        self.server.restore(self.backup)
        self.server.forget_history()
        there = {value for row in self.server.state.rows.values() for value in row.data.values()}
        self.written = [each for each in self.written if each[-1] in waiting | there]

    def office(self, what: str, row_id: str) -> None:
        """Somebody at a desk."""
        for collection in COLLECTIONS:
            name = f"{collection}-{row_id}"
            if name in self.server.live(collection):
                if what == "delete_row":
                    self.server.delete(collection, name)
                else:
                    self.server.edit(collection, name, office=f"o{next(self.serial)}")
        self.server.watch()

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
        """Every value that an issue holds."""
        values = set()
        for phone in self.phones:
            for issue in phone.client.issues():
                values |= {value for value in issue.mine.values() if isinstance(value, str)}
        return values

    def close(self) -> None:
        """Close all stores."""
        for phone in self.phones:
            phone.client.close()


def values_waiting(phone: Phone) -> set[str]:
    """Values that are in the phone's outbox, acked but unseen, or in its issues."""
    connection = phone.client._engine._store.connection
    texts = connection.execute(
        "SELECT data FROM outbox UNION ALL SELECT data FROM acked"
    ).fetchall()
    values = {value for (text,) in texts for value in json.loads(text).values()}
    return values | {value for issue in phone.client.issues() for value in issue.mine.values()}


def last_of_own(world: World) -> dict[tuple[int, str, str, str], str]:
    """The last value that each phone wrote into each field: the one that may not get lost."""
    return {(at, kind, row_id, name): value for at, kind, row_id, name, value in world.written}


def check(world: World) -> None:
    """The invariants, once all is quiet."""
    server = world.server
    for phone in world.phones:
        status = phone.client.status()
        assert (status.pending, status.sent, status.acked_unseen) == (0, 0, 0)
        for collection in COLLECTIONS:
            assert phone.view(collection) == server.live(collection)

    times = [(device, key, row_id) for device, key, _, row_id in server.applied]
    assert len(times) == len(set(times))
    assert [what for what, number in server.times.items() if number > 1] == []

    held, reached = world.accounted(), {value for _, _, value in server.times}
    for (at, _, row_id, _), value in last_of_own(world).items():
        assert value in reached or value in held, (at, row_id, value)

    for bodies in by_key(server).values():
        assert len(bodies) == 1


def by_key(server: FakeServer) -> dict[str, set[bytes]]:
    """The different bodies that were sent under each key."""
    groups: dict[str, set[bytes]] = {}
    for key, body in server.pushes():
        groups.setdefault(key, set()).add(body)
    return groups
