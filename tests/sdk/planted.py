"""Planted bugs: what an engineer could have got wrong, and the test that would have told.

Each is a small change of the SDK at run time. `test_planted` runs the named law or test with the
bug in place, and it must fail; `docs/sdk_laws.md` says how soon it did.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from msgspec.structs import replace

from fieldsync.engine.local import Local
from fieldsync.engine.pull import Pull
from fieldsync.engine.push import Push
from fieldsync.engine.session import Session
from fieldsync.errors import AuthRequired, FieldsyncError
from fieldsync.merge import choose_batch, coalesce
from fieldsync.outbox import Outbox
from fieldsync.store import Store
from fieldsync.trees import refresh
from fieldsync.verdict import check_answer
from fieldsync.wire import Op, PullPage

Patch = pytest.MonkeyPatch
Plant = Callable[[Patch], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """How it is planted, and what finds it: a law, or a test by its name.

    `shares` are those of steps that come more often than usual in the law's histories here.
    """

    plant: Plant
    found_by: str
    shares: dict[str, int] = field(default_factory=dict)


BUGS: dict[str, Bug] = {}
PHONES = "test_phones_converge_and_nothing_is_lost_or_doubled"
RESTORES = "test_restored_server_gets_back_what_no_pull_had_shown"
COPIES = "test_restored_and_cloned_phones_do_no_harm"
DEATH = "test_death_before_any_statement_costs_nothing_and_doubles_nothing"
THREADS = "test_threads_edit_the_same_row_and_nothing_is_lost"


def bug(name: str, *, found_by: str, **shares: int) -> Callable[[Plant], Plant]:
    """Enter the decorated planter under the bug's name."""

    def enter(plant: Plant) -> Plant:
        BUGS[name] = Bug(plant=plant, found_by=found_by, shares=shares)
        return plant

    return enter


def _forget_batches(outbox: Outbox) -> None:
    outbox._writer.execute("DELETE FROM outbox WHERE batch IS NOT NULL")
    outbox._writer.execute("DELETE FROM batch")


# the outbox


@bug("an entry is dropped before its ack", found_by=PHONES)
def _(patch: Patch) -> None:
    send = Push._send

    def careless(self: Push, batch: Any, budget: Any, report: Any) -> Any:
        try:
            return (yield from send(self, batch, budget, report))
        except FieldsyncError:
            with self._store.transaction():
                _forget_batches(self._outbox)
            raise

    patch.setattr(Push, "_send", careless)


@bug("an ack covers the row, not the revision that was sent", found_by=PHONES)
def _(patch: Patch) -> None:
    def remove(self: Outbox, entry: Any) -> None:
        self._writer.execute(
            "DELETE FROM outbox WHERE collection = ? AND row_id = ?",
            (entry.collection, entry.row_id),
        )

    patch.setattr(Outbox, "remove", remove)


@bug("an edit joins the one that is on its way", found_by=PHONES)
def _(patch: Patch) -> None:
    get_pending = Outbox.get_pending

    def get_any(self: Outbox, collection: str, row_id: str) -> Any:
        return get_pending(self, collection, row_id) or self.get_sent(collection, row_id)

    def replace_edit(self: Outbox, entry: Any, edit: Any, *, revision: int) -> None:
        self._writer.execute(
            "UPDATE outbox SET op = ?, data = ? WHERE seq = ?",
            (edit.op, json.dumps(dict(edit.data)), entry.seq),
        )

    patch.setattr(Outbox, "get_pending", get_any)
    patch.setattr(Outbox, "replace_edit", replace_edit)


@bug("a group is sent before it is whole", found_by=PHONES)
def _(patch: Patch) -> None:
    patch.setattr(
        "fieldsync.engine.push.choose_batch",
        lambda candidates, *, held_groups, **bounds: choose_batch(
            candidates, held_groups=(), **bounds
        ),
    )


@bug("a pull takes one edit out of its group", found_by=PHONES)
def _(patch: Patch) -> None:
    def refuse(self: Pull, name: Any, why: Any, report: Any) -> None:
        pending = self._outbox.get_pending(*name)
        if pending is not None and self._outbox.get_sent(*name) is None:
            self._outbox.remove(pending)
            self._local.refuse(pending, pending.edit, outcome=why[0], code=why[1])

    patch.setattr(Pull, "_refuse", refuse)


@bug("a refused create takes a later edit out of its group", found_by=PHONES, refusal=15)
def _(patch: Patch) -> None:
    def take_along(self: Push, refused: Any, pending: Any) -> Any:
        self._outbox.remove(pending)
        return coalesce(refused, pending.edit)

    patch.setattr(Push, "_take_along", take_along)


@bug("a delete of a row that left is dropped", found_by=PHONES, clash=40)
def _(patch: Patch) -> None:
    refuse = Pull._refuse

    def drop_deletes(self: Pull, name: Any, *rest: Any) -> None:
        pending = self._outbox.get_pending(*name)
        if pending is not None and pending.edit.op is Op.DELETE:
            self._outbox.remove(pending)
        refuse(self, name, *rest)

    patch.setattr(Pull, "_refuse", drop_deletes)


@bug("a batch that is too large is dropped", found_by=PHONES, limits=8)
def _(patch: Patch) -> None:
    def shrink(self: Push, batch: Any, report: Any) -> None:
        with self._store.transaction():
            _forget_batches(self._outbox)

    patch.setattr(Push, "_shrink", shrink)


@bug("a refused mutation vanishes in silence", found_by=PHONES)
def _(patch: Patch) -> None:
    patch.setattr(Local, "refuse", lambda *given, **said: None)


@bug("threads edit without taking turns", found_by=THREADS)
def _(patch: Patch) -> None:
    @contextmanager
    def transaction(self: Store, by: Any = None) -> Any:
        yield
        refresh(self.writer, dict(self._touched))
        afterwards, self._afterwards = self._afterwards, {}
        for work in afterwards:
            work()

    patch.setattr(Store, "transaction", transaction)


# keys and bytes


@bug("a retry has a new key", found_by=PHONES)
def _(patch: Patch) -> None:
    ask = Session.ask

    def ask_as_new(self: Session, request: Any, **named: Any) -> Any:
        if "Idempotency-Key" in request.headers:
            new = {**request.headers, "Idempotency-Key": f'"{uuid.uuid4()}"'}
            request = replace(request, headers=new)
        return (yield from ask(self, request, **named))

    patch.setattr(Session, "ask", ask_as_new)


@bug("a retry is rendered anew", found_by=PHONES)
def _(patch: Patch) -> None:
    ask = Session.ask
    tried: set[str] = set()

    def ask_rendered(self: Session, request: Any, **named: Any) -> Any:
        key = request.headers.get("Idempotency-Key")
        if key in tried and "Content-Encoding" not in request.headers:
            request = replace(request, body=json.dumps(json.loads(request.body)).encode())
        tried.add(key or "")
        return (yield from ask(self, request, **named))

    patch.setattr(Session, "ask", ask_rendered)


@bug("a key is counted, not drawn", found_by=COPIES)
def _(patch: Patch) -> None:
    put_batch = Outbox._put_batch

    def count(self: Outbox, seqs: Any, *, key: str, body: bytes, place: float) -> None:
        last = self._writer.value(
            "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'batch'"
        )
        install_id = self._writer.value("SELECT value FROM meta WHERE key = 'install_id'")
        put_batch(self, seqs, key=f"{install_id}-{last}", body=body, place=place)

    patch.setattr(Outbox, "_put_batch", count)


# what an edit claims to know


@bug("a pull moves the base of a pending edit", found_by=PHONES, clash=40)
def _(patch: Patch) -> None:
    apply_changes = Pull._apply_changes

    def apply_and_rebase(self: Pull, changes: Any, *rest: Any) -> None:
        apply_changes(self, changes, *rest)
        for change in changes:
            pending = self._outbox.get_pending(change.collection, change.id)
            if pending is not None and change.op == "upsert":
                moved = replace(pending.edit, base_version=change.version)
                self._outbox.replace_edit(pending, moved, revision=pending.revision)

    patch.setattr(Pull, "_apply_changes", apply_and_rebase)


@bug("an edit behind a merge is on the merge, unseen", found_by=PHONES, clash=40)
def _(patch: Patch) -> None:
    patch.setattr("fieldsync.engine.push._would_overwrite", lambda *given: False)


@bug("an unchanged row is taken for one that was seen", found_by=PHONES, agree=20)
def _(patch: Patch) -> None:
    patch.setattr("fieldsync.engine.push._basis", lambda entry, result, version, **_: version)


# pulls


@bug("a pull overwrites a pending edit", found_by=PHONES)
def _(patch: Patch) -> None:
    apply_changes = Pull._apply_changes

    def server_wins(self: Pull, changes: Any, *rest: Any) -> None:
        apply_changes(self, changes, *rest)
        for change in changes:
            pending = self._outbox.get_pending(change.collection, change.id)
            if pending is not None:
                self._outbox.remove(pending)

    patch.setattr(Pull, "_apply_changes", server_wins)


@bug("a cursor is saved before its page", found_by=DEATH)
def _(patch: Patch) -> None:
    apply = Pull._apply

    def cursor_first(self: Pull, cursor: Any, page: PullPage, run: Any, **rest: Any) -> bool:
        whole = PullPage(cursor=page.cursor, has_more=False, changes=page.changes)
        self._store.set_meta(cursor=page.cursor)
        return apply(self, page.cursor, whole, run, **rest)

    patch.setattr(Pull, "_apply", cursor_first)


@bug("a page is applied in two transactions", found_by=DEATH)
def _(patch: Patch) -> None:
    apply = Pull._apply

    def in_two(self: Pull, cursor: Any, page: PullPage, run: Any, **named: Any) -> bool:
        half = len(page.changes) // 2
        first = PullPage(
            cursor=page.cursor, has_more=cursor != page.cursor, changes=page.changes[:half]
        )
        rest = PullPage(cursor=page.cursor, has_more=False, changes=page.changes[half:])
        apply(self, cursor, first, run, **named)
        return apply(self, page.cursor, rest, run, **named)

    patch.setattr(Pull, "_apply", in_two)


@bug("a row that left takes the edit of it along", found_by=PHONES)
def _(patch: Patch) -> None:
    def drop(self: Pull, name: Any, *rest: Any) -> None:
        pending = self._outbox.get_pending(*name)
        if pending is not None:
            self._outbox.remove(pending)

    patch.setattr(Pull, "_refuse", drop)


@bug("a fresh pull keeps rows that it did not show", found_by=PHONES, gone=8, office=10)
def _(patch: Patch) -> None:
    patch.setattr(Pull, "_sweep", lambda *given: None)


@bug(
    "what was acked and not seen is forgotten when the server was restored",
    found_by=RESTORES,
    half=20,
    restore=10,
)
def _(patch: Patch) -> None:
    take_acks = Outbox.take_acks

    def forget(self: Outbox) -> list[Any]:
        take_acks(self)
        return []

    patch.setattr(Outbox, "take_acks", forget)


# who is logged in, and who answers


@bug("a refused login clears the outbox", found_by=PHONES)
def _(patch: Patch) -> None:
    refresh = Session._refresh

    def clear(self: Session, stale: str) -> Any:
        try:
            return (yield from refresh(self, stale))
        except AuthRequired:
            with self._store.transaction():
                self._store.writer.execute("DELETE FROM outbox")
                self._store.writer.execute("DELETE FROM batch")
            raise

    patch.setattr(Session, "_refresh", clear)


@bug("another user's outbox is sent", found_by=PHONES, login=15)
def _(patch: Patch) -> None:
    adopt = Session._adopt

    def ask_nobody(self: Session, login: Any, username: str) -> None:
        self._store.set_meta(user_id=None)
        adopt(self, login, username)

    patch.setattr(Session, "_adopt", ask_nobody)


@bug("the page of a captive portal is taken for success", found_by=PHONES)
def _(patch: Patch) -> None:
    def be_content(answer: Any) -> Any:
        if answer.kind == "text/html" and answer.status == 200:
            return replace(answer, body=b'{"results": []}')
        return check_answer(answer)

    settle = Push._settle

    def settle_anything(self: Push, batch: Any, results: Any, report: Any) -> None:
        if not results:
            with self._store.transaction():
                _forget_batches(self._outbox)
        else:
            settle(self, batch, results, report)

    patch.setattr("fieldsync.engine.session.check_answer", be_content)
    patch.setattr(Push, "_settle", settle_anything)
