"""Check: does the replica equal the server? What differs is mended.

    digest with the cursor --behind--> pull, ask again
        `- sums of the replica: equal -> done
                                differ -> each bucket: fetch its rows -> [ one transaction: put
                                          them, drop what is not among them ] -> ask again

Edits are not looked at and not touched: what is compared are the rows as the server sent them. A
row that differs means a bug somewhere, here or there, or a disk that forgets: it is logged.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from fieldsync.digest import EMPTY, Digest, Sum, Sums, bucket_of, parse_digest, parse_rows
from fieldsync.engine.report import QUIET, Meter
from fieldsync.errors import ServerBug
from fieldsync.listeners import Cause
from fieldsync.machine import State
from fieldsync.transport import Request
from fieldsync.verdict import find_lost_cursor
from fieldsync.wire import Unreadable, raw_object

if TYPE_CHECKING:
    from fieldsync.engine.local import Local
    from fieldsync.engine.pull import Pull
    from fieldsync.engine.report import SyncReport
    from fieldsync.engine.session import Session
    from fieldsync.engine.settings import Settings
    from fieldsync.retry import RetryBudget
    from fieldsync.steps import Steps
    from fieldsync.store import ServerRow
    from fieldsync.transport import Answer

    Bucket = tuple[str, int]
    Held = dict[str, tuple[int, str]]  # by id: version and data

TRIES_MAX = 5  # a server that is never caught up with, or never agreed with, is left in peace
SLICE_ROWS = 2_000  # read at a time; edits wait no longer than that
PAGE_ROWS_MAX = 1_000
BUCKETS_MAX = 64  # beyond, all rows anew cost the server less
FRESH_CODE = "replica_differs"

log = logging.getLogger("fieldsync")


class _Run(msgspec.Struct):
    """One check."""

    budget: RetryBudget
    report: SyncReport
    meter: Meter
    may_restart: bool


class Check:
    """The proof that nothing was missed, and its repair."""

    def __init__(self, local: Local, session: Session, pull: Pull, settings: Settings) -> None:
        self._store = local.store
        self._outbox = local.outbox
        self._session = session
        self._pull = pull
        self._every_s = settings.check_s
        self._now = settings.now

    def run(
        self,
        budget: RetryBudget,
        report: SyncReport,
        *,
        meter: Meter = QUIET,
        is_asked: bool = False,
        may_restart: bool = True,
    ) -> Steps[bool]:
        """Check if it `is_asked` for or due. False when the cursor is gone: push and pull."""
        if not is_asked and not self._is_due():
            return True
        run = _Run(budget, report, meter, may_restart)
        try:
            return (yield from self._check(run))
        except ServerBug as error:
            if is_asked:
                raise
            log.warning("the replica could not be checked: %s", error)
            self._note_checked()
            return True

    def _is_due(self) -> bool:
        """Whether the last check is long ago, or a fresh pull has been since."""
        checked_at = self._store.get_meta("checked_at")
        if checked_at is None:
            return True
        passed_s = self._now().timestamp() - float(checked_at)
        return not 0 <= passed_s < self._every_s  # a clock that went back knows nothing

    def _note_checked(self) -> None:
        self._store.set_meta(checked_at=str(self._now().timestamp()))

    def _check(self, run: _Run) -> Steps[bool]:
        for _ in range(TRIES_MAX):
            cursor = self._store.get_meta("cursor")
            digest = yield from self._ask(cursor, run)
            if isinstance(digest, str):
                self._pull.restart(digest)
                return False
            if digest.behind:
                if not (yield from self._pull.run(run.budget, run.report, meter=run.meter)):
                    return False
                continue
            differing = self._compare(digest)
            if self._store.get_meta("cursor") != cursor:
                continue  # another process has pulled: these sums are of no moment
            run.report.verified = not differing
            if not differing:
                break
            if not (yield from self._put_right(differing, cursor, run)):
                return False
        self._conclude(run.report)
        return True

    def _put_right(
        self, differing: dict[Bucket, Sum], cursor: str | None, run: _Run
    ) -> Steps[bool]:
        """Mend the buckets one by one, or (False) have all rows pulled afresh."""
        log.warning("the replica differs from the server in %d buckets", len(differing))
        if len(differing) > BUCKETS_MAX and run.may_restart:
            self._pull.restart(FRESH_CODE)
            return False
        yield from self._mend(differing, cursor, run)
        return True

    def _conclude(self, report: SyncReport) -> None:
        """Say how it ended, unless the server was never caught up with: then it is due again."""
        if report.verified is False:
            log.error("the replica could not be made equal to the server")
        if report.verified is not None:
            self._note_checked()

    def _ask(self, cursor: str | None, run: _Run) -> Steps[Digest | str]:
        """The server's digest, or the code of the problem that ends this cursor."""
        params = self._pull.scope()
        if cursor is not None:
            params["cursor"] = cursor

        def parse(answer: Answer) -> Digest | str:
            return find_lost_cursor(answer) or parse_digest(answer.body)

        request = Request(method="GET", path="sync/digest", params=params)
        return (yield from self._session.call(request, parse, run.budget))

    # comparing

    def _compare(self, digest: Digest) -> dict[Bucket, Sum]:
        """The buckets that differ, with what the server has in them."""
        theirs = {
            (name, at): Sum(each.count, int(each.checksum, 16))
            for name, sums in digest.collections.items()
            for at, each in sums.buckets.items()
        }
        ours = {
            (name, at): each
            for name in self._store.list_collections()
            for at, each in self._sum_up(name).items()
        }
        return {
            bucket: theirs.get(bucket, EMPTY)
            for bucket in sorted(ours.keys() | theirs.keys())
            if ours.get(bucket, EMPTY) != theirs.get(bucket, EMPTY)
        }

    def _sum_up(self, collection: str) -> dict[int, Sum]:
        """The sums of the rows as received, from what is on the disk."""
        sums, after = Sums(), ""
        while rows := self._store.list_slice(collection, after, SLICE_ROWS):
            sums.add(rows)
            after = rows[-1][0]
        return sums.by_bucket()

    # mending

    def _mend(self, differing: dict[Bucket, Sum], cursor: str | None, run: _Run) -> Steps[None]:
        """Take over the server's rows of these buckets, as long as nobody pulls meanwhile."""
        held = self._list_held(differing)
        for done, (bucket, sums) in enumerate(differing.items()):
            run.meter.note(State.CHECKING, done, len(differing))
            sent = (yield from self._fetch(bucket, run)) if sums.count else {}
            mended = self._replace(bucket, sent, held[bucket], cursor)
            if mended is None:
                return
            run.report.repaired += mended
        run.meter.note(State.CHECKING, len(differing), len(differing))

    def _list_held(self, differing: dict[Bucket, Sum]) -> dict[Bucket, set[str]]:
        """The ids of our rows in each of these buckets."""
        held: dict[Bucket, set[str]] = {bucket: set() for bucket in differing}
        for collection in sorted({name for name, _ in differing}):
            for row_id in self._store.list_ids(collection):
                bucket = (collection, bucket_of(row_id))
                if bucket in held:
                    held[bucket].add(row_id)
        return held

    def _fetch(self, bucket: Bucket, run: _Run) -> Steps[Held]:
        """All rows that the server has in `bucket`."""
        collection, number = bucket
        params: dict[str, str | int] = {
            "collection": collection,
            "bucket": number,
            "limit": PAGE_ROWS_MAX,
        }
        found: Held = {}
        while True:  # each page begins behind the one before
            request = Request(method="GET", path="sync/rows", params=dict(params))
            page, has_more = yield from self._session.call(request, _parse_rows, run.budget)
            found |= page
            if not has_more:
                return found
            last = max(page, default="")
            if last <= str(params.get("after", "")):
                raise ServerBug(code="bucket_without_end", detail=f"{collection} {number}")
            params["after"] = last

    def _replace(
        self, bucket: Bucket, sent: Held, held: set[str], cursor: str | None
    ) -> int | None:
        """Make what was `sent` all that is here of `bucket`; how many it mended.

        None, and nothing done, when somebody has pulled: then they may be older than what is
        here. What the server has acked and no pull has shown is left alone: a pull decides.
        """
        store, collection = self._store, bucket[0]
        with store.transaction(Cause.PULL):
            if store.get_meta("cursor") != cursor:
                return None
            generation = store.generation
            acked = self._outbox.list_acked(collection)
            puts = [
                (collection, row_id, version, text, generation)
                for row_id, (version, text) in sent.items()
                if row_id not in acked
                and (version, text) != _known(store.get_row(collection, row_id))
            ]
            drops = [(collection, row_id) for row_id in held - sent.keys() - acked]
            store.put_rows(puts)
            store.drop_rows(drops)
        return len(puts) + len(drops)


def _parse_rows(answer: Answer) -> tuple[Held, bool]:
    """The rows in an answer, and whether there are more. Raises: Unreadable."""
    page = parse_rows(answer.body)
    rows: Held = {}
    for row in page.changes:
        text = raw_object(row.data)
        if text is None or row.version is None:
            raise Unreadable(f"{row.op} of {row.id}")
        rows[row.id] = (row.version, text)
    return rows, page.has_more


def _known(row: ServerRow | None) -> tuple[int, str] | None:
    return None if row is None else (row.version, row.text)
