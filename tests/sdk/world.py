"""World: phones, their server, and everything that anybody ever wrote.

    random steps  ->  World.do  ->  heal  ->  invariants

Every value is written once in a world, so that a value in a field says whose edit it was, and the
world remembers what its writer saw in that field at that moment.
"""

from __future__ import annotations

import itertools
import random
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import invariants
from mortal import MortalPhone
from office import COLLECTIONS, ROWS, Office
from records import Clash, Deleted, Meanwhile, Op, Visit, Written
from watched import OFFICE, Name, canon

import fieldsync
from fieldsync.engine.issues import Keep
from fieldsync.testing import Fault

PHONES = 3
CLONES_MAX = 1
FIELDS = ("a", "b", "tasks")  # the last one is a list
QUIET_ROUNDS_MAX = 12
HEALED_S_MAX = 60.0
GIVEN_UP = (fieldsync.Unreachable, fieldsync.AuthRequired)  # what a sync may end in
DEAD = (*GIVEN_UP, sqlite3.OperationalError)


class World(Office):
    """Phones of one user, their server, and every value that anybody ever wrote."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.phones = [self._make_phone(folder / f"{at}.db", seed=at) for at in range(PHONES)]
        for phone in self.phones:
            phone.login()
        self.written: list[Written] = []
        self.authors: dict[str, str] = {}  # value -> user
        self.seen: dict[str, set[str]] = {}  # value -> what its writer saw in its place
        self.chosen: set[str] = set()  # values that a person wanted once more
        self.deleted: list[Deleted] = []
        self.visits: list[Visit] = []
        self._begin()
        self.backup = self.server.backup()
        self.has_old_stores = False
        self.server.after_push = lambda: invariants.groups_stand_or_fall_whole(self)

    def _begin(self) -> None:
        """Half of the rows are there, and all phones have them."""
        for collection, row in itertools.product(COLLECTIONS, range(ROWS // 2)):
            self.edit("create", 0, row, "a", collection)
        for phone in (*self.phones, self.phones[0]):
            phone.sync()
            phone.save()

    def _make_phone(self, path: Path, seed: int) -> MortalPhone:
        return MortalPhone(self.server, path, push_rows_max=3, rng=random.Random(seed))

    def do(self, step: tuple[Any, ...]) -> None:
        """One step: the name of a method and what it is given."""
        name, *given = step
        getattr(self, name)(*given)
        for phone in self.phones:
            invariants.cursor_tells_what_the_replica_holds(self, phone)

    def _phone(self, at: int) -> int:
        """Which phone that is: a clone's number means the first one until there is a clone."""
        return at % len(self.phones)

    # what people do

    def edit(self, op: str, at: int, row: int, name: str, collection: str) -> None:
        """An update or a delete; or a create, where there is no row."""
        at = self._phone(at)
        row_id = f"{collection}-{row % ROWS}"
        phone = self.phones[at]
        shown = phone[collection].get(row_id)
        view = shown.data if shown else {}
        if op != "delete":
            op = "update" if shown else "create"
        try:
            if op == "delete":
                self._delete(at, (collection, row_id), view, shown.version if shown else None)
            else:
                value: Any = f"v{next(self.serial)}"
                if name == "tasks":
                    value = [*view.get("tasks", []), {"id": value, "text": value}]
                self._write(op, at, (collection, row_id), name, value, view)
        except fieldsync.RowRefused:
            return

    def _delete(self, at: int, name: Name, view: dict[str, Any], version: int | None) -> None:
        collection, row_id = name
        self.phones[at][collection].delete(row_id)
        self.deleted.append(Deleted(phone=at, name=name, view=view, must_be=version is not None))
        assert self.phones[at][collection].get(row_id) is None
        self._give_up_row(at, name)
        self._break_visits(
            {value for visit in self.visits for row, value in visit.members if row == name}
        )

    def _write(
        self, op: str, at: int, name: Name, field_name: str, value: Any, view: dict[str, Any]
    ) -> None:
        collection, row_id = name
        phone, text = self.phones[at], canon(value)
        if field_name in view:
            self.seen[text] = {canon(view[field_name])}
        self.authors[text] = phone.user
        if op == "create":
            phone[collection].create({field_name: value}, id=row_id)
        else:
            phone[collection].update(row_id, {field_name: value})
        after = phone[collection].get(row_id)
        assert after is not None
        assert after.data[field_name] == value
        self._note_written(at, name, {field_name: value})
        self._break_visits(self.seen.get(text, set()))
        if self.visits and not self.visits[-1].is_whole:
            self.visits[-1].members.append((name, text))

    def _break_visits(self, values: set[str]) -> None:
        """These values are superseded: whether they ever arrive says nothing of their visit."""
        for visit in self.visits:
            visit.members = [each for each in visit.members if each[1] not in values]

    def visit(self, at: int, ops: Sequence[Op], trouble: str) -> None:
        """A group of edits. A bad one takes all with it, and a sync in the middle parts none.

        Not even when it tells that the first row has left, or was deleted.
        """
        at = self._phone(at)
        self.visits.append(Visit())
        with self.phones[at].client.group(f"visit-{next(self.serial)}"):
            for number, (op, row, collection) in enumerate(ops):
                if trouble in {"edit", "hide", "delete"} and number == 1:
                    self.office(trouble, ops[0][1], ops[0][2])
                    self.sync(at, [])
                self.edit(op, at, row, FIELDS[number % 3], collection)
            if trouble == "bad":
                value = f"BAD {next(self.serial)}"
                self.phones[at][COLLECTIONS[0]].create({"c": "BAD", "d": value})
        self.visits[-1].is_whole = True

    def errand(self, at: int, edit: tuple[str, int, str, str], then: tuple[Any, ...]) -> None:
        """An edit, and a step of the same phone."""
        op, row, name, collection = edit
        self.edit(op, at, row, name, collection)
        what, *given = then
        getattr(self, what)(at, *given)

    # what happens at the same time

    def clash(self, at: int, row: int, collection: str, what: Clash) -> None:
        """The office does something to a row that the phone edits before its sync and during it."""
        first, by_office, path, second = what
        if first:
            self.edit("update", at, row, first, collection)
        self.office(by_office, row, collection)
        op, name = second
        self.sync(at, [], (path, op, row, name, collection))

    def agree(self, at: int, row: int, collection: str) -> None:
        """The office and the phone write the same, and the office more; so does the phone, then."""
        at, name = self._phone(at), (collection, f"{collection}-{row % ROWS}")
        shown = self.phones[at][collection].get(name[1])
        if shown is None or name[1] not in self.server.live(collection):
            return
        same, more = f"o{next(self.serial)}", f"o{next(self.serial)}"
        self.server.edit(*name, a=same, b=more)
        self.server.note(OFFICE)
        self._write("update", at, name, "a", same, shown.data)
        self.sync(at, [], ("sync/push", "update", row, "b", collection))

    def refusal(self, at: int, ops: Sequence[Op]) -> None:
        """A new row is refused; while it is on its way, it is edited in a group with others."""
        at = self._phone(at)
        bad = self.phones[at][COLLECTIONS[0]].create({"d": f"BAD {next(self.serial)}", "c": "BAD"})

        def visit_once(path: str) -> None:
            if path == "sync/push":
                self.server.before_answer = lambda path: None
                name = (COLLECTIONS[0], bad)
                self.visits.append(Visit())
                with self.phones[at].client.group(f"visit-{next(self.serial)}"):
                    row = self.phones[at][name[0]].get(bad)
                    if row is not None:
                        self._write("update", at, name, "d", f"v{next(self.serial)}", row.data)
                    for op, row_number, collection in ops:
                        self.edit(op, at, row_number, "a", collection)
                self.visits[-1].is_whole = True

        with self._faulty([]):
            self.server.before_answer = visit_once
            self.phones[at].sync()

    def locked(self, at: int) -> None:
        """The login has run out, and cannot be renewed for a while."""
        self.server.refuses_refresh = True
        self.sync(at, [Fault.EXPIRED])
        self.server.refuses_refresh = False

    def settle(self, at: int, which: int, how: str) -> None:
        """A person settles an issue in one of the five ways; not if it cannot be done."""
        at = self._phone(at)
        phone = self.phones[at]
        issues = phone.client.issues()
        if not issues:
            return None
        issue = issues[which % len(issues)]
        theirs = issue.theirs or {}
        mine = {name: canon(value) for name, value in issue.mine.items()}
        self._break_visits(set(mine.values()))
        if issue.op == "delete" or how == "values":
            self._forget_deletes(at, (issue.collection, issue.row_id))
        if issue.op == "delete" and how in {"retry", "mine"}:
            self._delete_again(at, (issue.collection, issue.row_id))
        keep: Keep | dict[str, Any]
        match how:
            case "retry":
                return issue.retry()
            case "discard" | "theirs":
                self._give_up(set(mine.values()))
                return issue.discard() if how == "discard" else self._keep(at, issue, "theirs")
            case "values":
                keep = {"a": f"v{next(self.serial)}"}
                self._give_up({mine[name] for name in keep if name in mine})
            case _:
                keep = "mine"
        self._foresee(at, issue, keep if isinstance(keep, dict) else {}, theirs)
        self._keep(at, issue, keep)
        return None

    def _give_up(self, values: set[str]) -> None:
        """These need not arrive any more, nor what they were written over."""
        gone = {each.place for each in self.written if each.value in values}
        self.written = [each for each in self.written if each.place not in gone]

    def _give_up_row(self, at: int, name: Name) -> None:
        """It is deleted on this phone: what was not sent yet need never be."""
        self.written = [each for each in self.written if (each.phone, each.name) != (at, name)]

    def _delete_again(self, at: int, name: Name) -> None:
        """Of a row that may be edited here since, as it is seen here now."""
        self._give_up_row(at, name)
        row = self.phones[at][name[0]].get(name[1])
        view = row.data if row else {}
        self.deleted.append(Deleted(phone=at, name=name, view=view, must_be=False))

    def _foresee(
        self, at: int, issue: fieldsync.Issue, chosen: dict[str, Any], theirs: dict[str, Any]
    ) -> None:
        """Whoever settles an issue has seen both versions, and the row as it is here."""
        row = self.phones[at][issue.collection].get(issue.row_id)
        view = row.data if row else {}
        for field_name, value in {**issue.mine, **chosen}.items():
            text = canon(value)
            sides = (theirs, view, issue.mine)
            known = [each[field_name] for each in sides if field_name in each]
            self.seen.setdefault(text, set()).update(canon(each) for each in known)
            self.seen[text].discard(text)
            self.chosen.add(text)
            self.authors.setdefault(text, self.phones[at].user)
        if issue.op == "delete" and not chosen:
            name = (issue.collection, issue.row_id)
            self.deleted.append(Deleted(phone=at, name=name, view=theirs, must_be=True))

    def _forget_deletes(self, at: int, *names: Name) -> None:
        """These deletes need not come true any more; none of the phone's, when none is named."""
        self.deleted = [
            replace(each, must_be=False)
            if each.phone == at and (not names or each.name in names)
            else each
            for each in self.deleted
        ]

    def _keep(self, at: int, issue: fieldsync.Issue, keep: Keep | dict[str, Any]) -> None:
        try:
            row_id = issue.resolve(keep)
        except (fieldsync.Unresolvable, fieldsync.RowExists):
            return
        if row_id is not None and isinstance(keep, dict):
            self._note_written(at, (issue.collection, row_id), keep)

    def _note_written(self, at: int, name: Name, fields: dict[str, Any]) -> None:
        user = self.phones[at].user
        for field_name, value in fields.items():
            each = Written(phone=at, user=user, name=name, field=field_name, value=canon(value))
            self.written.append(each)

    def login(self, at: int, user: str) -> None:
        """Somebody logs in; not where work of somebody else waits."""
        phone = self.phones[self._phone(at)]
        try:
            phone.login(user)
        except fieldsync.OtherUsersWork:
            return
        phone.user = user

    def clock(self, at: int, days: int) -> None:
        """The phone's clock is so far off from now on."""
        self.phones[self._phone(at)].ahead = timedelta(days=days)

    # syncs and deaths

    @contextmanager
    def _faulty(self, faults: list[Any]) -> Iterator[None]:
        self.server.faults.clear()
        self.server.faults.extend(faults)  # None: that request goes well
        try:
            yield
        finally:
            self.server.faults.clear()
            self.server.before_answer = lambda path: None

    def sync(self, at: int, faults: list[Any], meanwhile: Meanwhile | None = None) -> None:
        """One sync under faults, perhaps with an edit while a request is under way."""
        at = self._phone(at)

        def edit_once(path: str) -> None:
            if meanwhile and path == meanwhile[0]:
                self.server.before_answer = lambda path: None
                _, op, row, name, collection = meanwhile
                self.edit(op, at, row, name, collection)

        with self._faulty(faults):
            self.server.before_answer = edit_once
            try:
                self.phones[at].sync()
            except GIVEN_UP:
                return

    def drop(self, at: int, faults: list[Any], effects: int, is_answered: bool) -> None:
        """The process is killed between two effects of a sync."""
        with self._faulty(faults):
            self.phones[self._phone(at)].sync_until(effects, is_answered=is_answered)

    def kill(self, at: int, asked: int, faults: list[Any]) -> None:
        """The process is killed in the middle of some statement of an edit or of a sync."""
        at = self._phone(at)
        with self._faulty(faults), self.phones[at].dying_after(asked):
            try:
                self.edit("update", at, 2, "a", COLLECTIONS[0])
                self.phones[at].sync()
            except DEAD:
                return

    # stores that are copied

    def save(self, at: int) -> None:
        """The phone makes a backup of its store."""
        self.phones[self._phone(at)].save()

    def put_back(self, at: int) -> None:
        """The phone gets its backup back; what was made since and not sent is gone with it."""
        at = self._phone(at)
        phone = self.phones[at]
        if phone.backup is None:
            return
        self.has_old_stores = True
        user, path = phone.backup.user, phone.backup.path
        phone.start_on(path)
        phone.user = user
        phone.save()
        safe = self.server.reached() | invariants.values_waiting(phone)
        self.written = [each for each in self.written if each.phone != at or each.value in safe]
        self._forget_deletes(at)
        self.visits.clear()

    def clone(self, at: int) -> None:
        """Two phones from one store."""
        if len(self.phones) == PHONES + CLONES_MAX:
            return
        self.has_old_stores = True
        phone = self.phones[self._phone(at)]
        clone = self._make_phone(phone.copy_store(), seed=99)
        clone.user = phone.user
        self.phones.append(clone)

    # the server

    def restore(self) -> None:
        """The server goes back to its backup; what a phone had already pulled cannot come back."""
        waiting = set().union(*(invariants.values_waiting(phone) for phone in self.phones))
        self.server.restore(self.backup)
        safe = waiting | self.server.reached()
        self.written = [each for each in self.written if each.value in safe]
        self.visits.clear()

    # the end

    def heal(self) -> None:
        """A good network and a patient server, until nothing moves any more."""
        self.arrive()
        self.limits(1000, 10**9, can_stream=True)
        self.server.gone_code = None
        for phone in self.phones:
            phone.waits.clear()
        for _ in range(QUIET_ROUNDS_MAX):
            reports = [phone.sync() for phone in self.phones]
            if not any(report.pushed or report.pulled for report in reports):
                break
        else:
            raise AssertionError("never quiet")
        assert all(sum(phone.waits) <= HEALED_S_MAX for phone in self.phones)

    def close(self) -> None:
        """Close all stores."""
        for phone in self.phones:
            phone.client.close()
