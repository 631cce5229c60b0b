"""Planted bugs of the server: what peers and tutorials get wrong, each switched on by its name.

Each is a small change of the engine in a process that is the campaign's own. The campaign must
find every one; `docs/reliability.md` says after how many histories it did.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any, Final

from django.db import connection
from msgspec.structs import replace as changed

from backend.postgres import cursors
from sync import (
    batch,
    changelog,
    feed,
    pages,
    plan,
    pokes,
    receipts,
    row_security,
    scopes,
    storage,
    tombstones,
    transactions,
    versioning,
)
from sync.conf import sync_settings
from sync.cursor import Phase
from sync.errors import NeedsCare
from sync.models import Receipt
from sync.types import ChangeOp, Outcome
from sync.wire import encode
from tests.faults.campaign import planting
from tests.faults.campaign.planting import Bug, Plant, swap

BUGS: Final[dict[str, Bug]] = {}
_own = threading.local()


def bug(name: str, *, disaster: str = "") -> Callable[[Plant], Plant]:
    """Enter the decorated planter under the bug's name."""

    def enter(work: Plant) -> Plant:
        BUGS[name] = Bug(plant=work, disaster=disaster)
        return work

    return enter


def _only(cursor: Any) -> int:
    (value,) = cursor.fetchone()
    return int(value)


def _append_at(
    head: int, tenant_id: Any, changes: Any, *, moves: int, device_id: Any, now: Any,
    is_move: bool = False,
) -> int | None:  # fmt: skip
    """Append `changes` behind a head that somebody has read before."""
    lines, seqs = changelog._number(changes)
    sql = changelog._APPEND.replace(
        "SET head = head + %(seqs)s", "SET head = greatest(head, %(head)s + %(seqs)s)"
    ).replace("RETURNING head - %(seqs)s AS base", "RETURNING %(head)s AS base")
    parameters = {
        "tenant": tenant_id, "seqs": seqs, "moved": int(is_move), "moves": moves,
        "changes": encode(lines).decode(), "device": device_id, "now": now,
        "head": head,
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        written = cursor.fetchone()
    return None if written is None else int(written[1])


# the feed


@bug("a sequence numbers the feed")
def _() -> None:
    """The classic: numbers are given before the rows are committed, so they are seen late."""
    original = changelog.append

    def append(tenant_id: Any, changes: Any, *, is_move: bool = False, **rest: Any) -> Any:
        if is_move:  # the stream is locked already
            return original(tenant_id, changes, is_move=is_move, **rest)
        _, seqs = changelog._number(changes)
        found = planting.session().execute(
            "UPDATE sync_stream SET head = head + %s WHERE tenant_id = %s RETURNING head - %s",
            [seqs, tenant_id, seqs],
        )
        planting.pause()
        return _append_at(_only(found), tenant_id, changes, **rest)

    swap(changelog, append=append)


@bug("the counter of the feed is read without its lock")
def _() -> None:
    def append(tenant_id: Any, changes: Any, *, is_move: bool = False, **rest: Any) -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SELECT head FROM sync_stream WHERE tenant_id = %s", [tenant_id])
            head = _only(cursor)
        planting.pause()
        return _append_at(head, tenant_id, changes, is_move=is_move, **rest)

    swap(changelog, append=append)


@bug("the head is read behind the page")
def _() -> None:
    follow = feed._follow

    def follow_on(reading: Any, place: Any, limit: int) -> Any:
        lines, reached = follow(reading, place, limit)
        planting.pause()
        head = changelog.read_stream(reading.actor.tenant_id).head
        return lines, changed(reached, seq=max(reached.seq, head))

    swap(feed, _STEPS={**feed._STEPS, Phase.FEED: follow_on})
    is_done = feed._Reading.is_done
    swap(
        feed._Reading,
        is_done=lambda self, place: is_done(self, place) or place.seq > self.stream.head,
    )


@bug("who loses a row is not told")
def _() -> None:
    original = scopes.changes_of

    def changes_of(*given: Any) -> Any:
        return [changed(change, left=frozenset()) for change in original(*given)]

    swap(scopes, changes_of=changes_of)


@bug("a row moves without what hangs below it")
def _() -> None:
    swap(scopes, with_descendants=lambda _tenant, changes, _facts: list(changes))


@bug("deletions are not told")
def _() -> None:
    original = changelog.append

    def append(tenant_id: Any, changes: Any, **rest: Any) -> Any:
        kept = [change for change in changes if change.op is not ChangeOp.DELETE]
        return original(tenant_id, kept, **rest) if kept else 0

    swap(changelog, append=append)
    swap(pokes, announce=lambda *_: None)


@bug("an edit that was read around a move is told where the row was")
def _() -> None:
    """The count of moves is not looked at."""
    swap(
        changelog, _APPEND=changelog._APPEND.replace("AND moves = %(moves)s", "AND %(moves)s >= 0")
    )


@bug("what is pruned leaves no floor", disaster="feed is pruned")
def _() -> None:
    swap(tombstones, _PRUNE_TOLD=tombstones._PRUNE_TOLD.replace("greatest(floor", "least(floor"))
    swap(tombstones, _RAISE="SELECT 1")
    swap(feed, _check_floor=lambda *_: None)


# the key


@bug("no key is remembered")
def _() -> None:
    swap(receipts, claim=lambda *_: None)
    swap(receipts, keep=lambda *_: None)


@bug("a key is looked up, then written")
def _() -> None:
    claim, keep = receipts.claim, receipts.keep

    def look_up(actor: Any, key: str, fingerprint: bytes, now: Any) -> Any:
        known = Receipt.objects.filter(**receipts._named(actor, key)).first()
        if known is not None:
            return receipts._answer(known)
        _own.claim = (actor, key, fingerprint, now)
        planting.pause()
        return None

    def write(actor: Any, key: str, answer: Any) -> None:
        claim(*_own.claim)
        keep(actor, key, answer)

    swap(receipts, claim=look_up, keep=write)


@bug("the answer is kept after COMMIT", disaster="worker is killed")
def _() -> None:
    keep = receipts.keep
    swap(receipts, keep=lambda *given: setattr(_own, "answer", given))
    run = transactions.run

    def run_and_keep(work: Any, rng: Any = None) -> Any:
        _own.answer = None
        found = run(work, rng)
        if _own.answer:
            planting.pause()
            keep(*_own.answer)
        return found

    swap(transactions, run=run_and_keep)


@bug("a key is taken in a transaction of its own", disaster="worker is killed")
def _() -> None:
    """Whoever dies behind it leaves a key that nobody can ever use again."""

    def take_for_good(actor: Any, key: str, fingerprint: bytes, now: Any) -> bool:
        wait = f"{sync_settings().lock_wait_ms}ms"
        holder = receipts._holder(actor)
        found = planting.session().execute(
            receipts._CLAIM.encode(), [actor.tenant_id, holder, key, fingerprint, now, wait]
        )
        return found.rowcount == 1

    swap(receipts, _take=take_for_good)


@bug("an answer is written anew when it is given again")
def _() -> None:
    answer = receipts._answer

    def anew(known: Any) -> Any:
        found = answer(known)
        return receipts.Answer(
            status=found.status, body=found.body.replace(b"{", b"{ ", 1), is_replay=True
        )

    swap(receipts, _answer=anew)


# conflicts and rows


@bug("the last write wins")
def _() -> None:
    swap(plan, overtaken_fields=lambda *_: frozenset())


@bug("two edits of one field are merged")
def _() -> None:
    combine = versioning.combine

    def merge(policy: Any, row: Any, edit: Any, overtaken: Any, overlap: Any) -> Any:
        del overlap
        return combine(policy, row, edit, overtaken, frozenset())

    swap(plan, combine=merge)


@bug("whoever deletes need not have seen the row")
def _() -> None:
    remove = plan._Attempt._remove

    def remove_blindly(self: Any, mutation: Any, row: Any) -> Any:
        return remove(self, changed(mutation, base_version=row.version), row)

    swap(plan._Attempt, _remove=remove_blindly)


@bug("rows are read without a lock")
def _() -> None:
    original = storage._lock_sql

    @wraps(original)
    def unlocked(collection: Any) -> str:
        return original(collection).replace(" FOR NO KEY UPDATE", "")

    swap(storage, _lock_sql=unlocked)
    lock = storage.lock

    def lock_slowly(*given: Any) -> Any:
        found = lock(*given)
        planting.pause()
        return found

    swap(storage, lock=lock_slowly)


@bug("a merge counts for two versions")
def _() -> None:
    put = plan._Attempt._put

    def put_twice(self: Any, mutation: Any, row: Any, data: Any, fields: Any, **rest: Any) -> Any:
        if rest["is_merge"]:
            row = changed(row, version=row.version + 1)
        return put(self, mutation, row, data, fields, **rest)

    swap(plan._Attempt, _put=put_twice)


@bug("what is as it was gets a new version")
def _() -> None:
    update = plan._Attempt._update

    def write_anyway(self: Any, mutation: Any) -> Any:
        result = update(self, mutation)
        if result.outcome is not Outcome.UNCHANGED:
            return result
        row = self._visible_row(mutation.key)
        return self._put(mutation, row, row.data, frozenset({"title"}), is_merge=False)

    swap(plan._Attempt, _update=write_anyway)


@bug("a group is applied as far as it goes")
def _() -> None:
    swap(plan, groups=lambda mutations, _policy: {m.index: m.index for m in mutations})


@bug("a row is written, and the feed hears of it later", disaster="worker is killed")
def _() -> None:
    """In a second transaction: who dies in between leaves a row that no phone ever gets."""
    log, run = batch.log, transactions.run
    swap(batch, log=lambda *given: setattr(_own, "log", given))

    def run_and_log(work: Any, rng: Any = None) -> Any:
        _own.log = None
        found = run(work, rng)
        if _own.log:
            with contextlib.suppress(NeedsCare):
                run(lambda _: log(*_own.log))
        return found

    swap(transactions, run=run_and_log)


# tenants and failures


@bug("a page is read without its tenant")
def _() -> None:
    """And the second line, the database's own policies, is not there either."""
    swap(
        pages,
        _PAGE=pages._PAGE.replace(
            "WHERE tenant_id = %(tenant)s AND scope", "WHERE tenant_id IS NOT NULL AND scope"
        ).replace("WHERE tenant_id = %(tenant)s AND collection", "WHERE collection"),
    )
    prelude = row_security.prelude
    swap(row_security, prelude=lambda _whom, owner: prelude(row_security.Unbound.EVERYBODY, owner))
    swap(cursors, prelude=row_security.prelude)


@bug("a lost database is our error", disaster="session is ended")
def _() -> None:
    swap(transactions, is_away=lambda _error: False)
