"""A virtual device: the real SDK, somebody who works with it, and a recorder on its line.

It can be killed at any request, before it is sent or behind its answer, and before any transaction
of its store: what is on the disk at that moment is all that is left of it.
"""

from __future__ import annotations

import itertools
import random
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx2

import fieldsync
from sync.clock import utc_now
from tests.faults.campaign.history import (
    NOTES,
    ORDERS,
    TEXTS,
    Deleted,
    History,
    Name,
    Replica,
    Sight,
    Visit,
    Written,
)
from tests.faults.campaign.recorder import Recorder

if TYPE_CHECKING:
    from sync.cursor import Cursor
    from tests.faults.campaign.script import Script

RETRY: Final = fieldsync.RetryPolicy(
    attempts_max=4, wait_s_max=5, backoff_first_s=0.02, backoff_s_max=0.3
)
TIMEOUT_S: Final = 4.0  # a black hole costs that long
PASSWORD: Final = "fieldsync-campaign"
ALL: Final = 10_000  # rows; a history has some dozen
CHOSEN_MAX: Final = 4
ROUND_S: Final = 0.05
DEATHS: Final = 24  # requests, answers and transactions of a sync; a short one outlives it
BROKEN: Final = (fieldsync.TransportFailure, fieldsync.RateLimited, fieldsync.ServerBug)


class Died(BaseException):
    """The device is killed here."""


class Device:
    """One device of one person; `number` is its place in the history."""

    def __init__(
        self, number: int, history: History, url: str, folder: Path, script: Script
    ) -> None:
        self.number = number
        self.person = history.people[number]
        self.history = history
        self.path = folder / f"{history.number}-{number}.db"
        self._steps = script.steps[number]
        self.dies_at: int | None = None  # which effect from now on is its last
        self.left: Path | None = None  # what is on the disk when it was killed
        self.meanwhile_at = ""  # the end of a path: while that is asked, somebody edits
        self.meanwhile_number = 0
        self._url = url
        self._ahead = timedelta(days=script.clocks[number])
        self._serial = itertools.count()
        self._groups = itertools.count()
        self._open_visit: Visit | None = None
        self.client = self._start()

    def _start(self) -> fieldsync.Client:
        http = httpx2.Client(transport=Recorder(self))
        client = fieldsync.Client(
            self._url, store=self.path, http=http, retry=RETRY, timeout_s=TIMEOUT_S,
            rng=random.Random(f"{self.history.seed} {self.number}"), app_version="1",
            flush_edits=False, now=lambda: utc_now() + self._ahead,
        )  # fmt: skip
        store = client._engine._store
        begin = store.transaction

        @contextmanager
        def transaction(*by: Any) -> Iterator[None]:
            self.count_down()
            with begin(*by):
                yield

        store.transaction = transaction  # type: ignore[method-assign, assignment]
        return client

    # what people do

    def work(self) -> None:
        """Carry out the script; what cannot be done is left."""
        for step in self._steps:
            with suppress(fieldsync.RowRefused):
                getattr(self, step.what)(step.number)

    def edit(self, number: int) -> None:
        """Write into a field of a work order."""
        row = self._choose(number)
        if row is not None:
            self._write(row, TEXTS[ORDERS][number % 2])

    def create(self, number: int) -> None:
        """Make a work order at one of the person's own sites."""
        value = self._value()
        data = {"kind": "repair", "site": self._site(number), "title": value}
        row_id = self.client.collection(ORDERS).create(data)
        self._note((ORDERS, row_id), "title", value)

    def note(self, number: int) -> None:
        """Write a note about a work order."""
        row, value = self._choose(number), self._value()
        if row is not None:
            row_id = self.client.collection(NOTES).create({"work_order": row.id, "text": value})
            self._note((NOTES, row_id), "text", value)

    def visit(self, number: int) -> None:
        """Do several of these as a group."""
        self._open_visit = Visit()
        try:
            with self.client.group(f"visit-{next(self._groups)}"):
                for at in range(2 + number % 2):
                    what = (self.edit, self.create, self.note)[(number + at) % 3]
                    with suppress(fieldsync.RowRefused):
                        what(number // 7 + at)
        finally:
            self.history.visits.append(self._open_visit)
            self._open_visit = None

    def delete(self, number: int) -> None:
        """Delete a work order."""
        row = self._choose(number)
        if row is None:
            return
        view = {field: str(row.data.get(field, "")) for field in TEXTS[ORDERS]}
        self.client.collection(ORDERS).delete(row.id)
        name = (ORDERS, row.id)
        self._forget_row(name)
        self.history.deleted.append(Deleted(device=self.number, name=name, view=view))

    def move(self, number: int) -> None:
        """Send a work order to another site: it leaves somebody, and comes to somebody."""
        row = self._choose(number)
        if row is not None:
            sites = sorted(self.history.sites)
            self.client.collection(ORDERS).update(row.id, {"site": sites[number % len(sites)]})

    def settle(self, number: int) -> None:
        """Settle an issue in one of the ways there are, if there is one."""
        issues = self.client.issues()
        if not issues:
            return
        issue = issues[number % len(issues)]
        how = ("mine", "theirs", "discard")[number % 3]
        mine = {str(value) for value in issue.mine.values()}
        self._break_visits(mine)
        if how != "mine":
            self.history.given_up |= mine
            self._forget_deletes((issue.collection, issue.row_id))
        else:
            self._foresee(issue)
        with suppress(fieldsync.Unresolvable, fieldsync.RowExists):
            if how == "discard":
                issue.discard()
            else:
                issue.resolve("mine" if how == "mine" else "theirs")

    def meanwhile(self, number: int) -> None:
        """Sync, and edit while its push, or its pull, is under way."""
        self.meanwhile_at, self.meanwhile_number = ("/push", "/pull")[number % 2], number // 2
        try:
            self.sync()
        finally:
            self.meanwhile_at = ""

    def reach(self, path: str) -> None:
        """A request of the device is on its way."""
        if self.meanwhile_at and path.endswith(self.meanwhile_at):
            self.meanwhile_at = ""
            self.edit(self.meanwhile_number)

    def sync(self, _number: int = 0) -> bool:
        """Sync once; whether it got through."""
        try:
            report = self.client.sync()
        except BROKEN:
            return False
        if report.repaired:
            self.history.accidents.append(f"device {self.number} had to mend {report.repaired}")
        self._look()
        return True

    def die(self, number: int) -> None:
        """Be killed in a sync, and start again on what is left: at a request, an answer, a write."""
        self.dies_at = number % DEATHS
        try:
            self.sync()
        except Died:
            pass
        finally:
            self.dies_at = None
        if self.left is not None:
            self.client.close()
            self.path, self.left = self.left, None
            self.client = self._start()

    # the end

    def log_in(self) -> None:
        """Log in, whatever the link does."""
        for tries_left in reversed(range(60)):
            try:
                self.client.login(self.person.username, PASSWORD)
                return
            except BROKEN:
                if not tries_left:
                    raise
                time.sleep(ROUND_S)

    def drain(self, until: float) -> None:
        """Sync until nothing waits, or until that moment."""
        while time.monotonic() < until:
            got_through = self.sync()
            status = self.client.status()
            if got_through and not (status.pending or status.sent or status.acked_unseen):
                return
            time.sleep(ROUND_S)

    def close(self) -> Replica:
        """Return what is in it, and let go of it."""
        status = self.client.status()
        replica = Replica(
            rows=self._versions(),
            view={
                (collection, row.id): row.data
                for collection in TEXTS
                for row in self.client.collection(collection).all()
            },
            unsent=status.pending + status.sent + status.acked_unseen,
            issues=[
                ((each.collection, each.row_id), each.op, each.mine)
                for each in self.client.issues()
            ],
        )
        self.client.close()
        return replica

    # inside

    def _choose(self, number: int) -> Any:
        """Return one of the first few rows: so that people meet."""
        rows = sorted(self.client.collection(ORDERS).all(), key=lambda row: row.id)[:CHOSEN_MAX]
        return rows[number % len(rows)] if rows else None

    def _site(self, number: int) -> str:
        own = sorted(s for s, place in self.history.sites.items() if self.person.sees(place))
        return own[number % len(own)]

    def _value(self) -> str:
        return f"{self.history.canary}{self.number}.{next(self._serial)}"

    def _write(self, row: Any, field: str) -> None:
        value, name = self._value(), (ORDERS, row.id)
        old = str(row.data.get(field) or "")
        self.history.seen[value] = {old}
        self.client.collection(ORDERS).update(row.id, {field: value})
        self._break_visits({old})
        self._note(name, field, value)

    def _note(self, name: Name, field: str, value: str) -> None:
        written = Written(device=self.number, name=name, field=field, value=value)
        self.history.written.append(written)
        if self._open_visit is not None:
            self._open_visit.members.append((name, field, value))

    def _break_visits(self, values: set[str]) -> None:
        """These are superseded: whether they ever arrive says nothing of their visit."""
        visits = [*self.history.visits, *([self._open_visit] if self._open_visit else [])]
        for visit in visits:
            visit.members = [each for each in visit.members if each[2] not in values]

    def _forget_row(self, name: Name) -> None:
        """It is deleted on this device: what was not sent yet need never be."""
        gone = [w for w in self.history.written if (w.device, w.name) == (self.number, name)]
        self.history.given_up |= {written.value for written in gone}
        self._break_visits({written.value for written in gone})

    def _forget_deletes(self, name: Name) -> None:
        kept = [d for d in self.history.deleted if (d.device, d.name) != (self.number, name)]
        self.history.deleted[:] = kept

    def _foresee(self, issue: fieldsync.Issue) -> None:
        """Whoever settles an issue has seen both versions, and the row as it is here."""
        row = self.client.collection(issue.collection).get(issue.row_id)
        sides = (issue.theirs or {}, row.data if row else {})
        for field, value in issue.mine.items():
            known = {str(each[field]) for each in sides if each.get(field)} - {str(value)}
            self.history.seen.setdefault(str(value), set()).update(known)
            self.history.chosen.add(str(value))
        if issue.op == "delete":
            name = (issue.collection, issue.row_id)
            self._forget_row(name)
            for side in sides:
                seen = {field: str(side.get(field) or "") for field in TEXTS[ORDERS]}
                self.history.deleted.append(Deleted(device=self.number, name=name, view=seen))

    def _look(self) -> None:
        """Note what is there at the end of a sync, and where that is."""
        place = self._place()
        if place is not None:
            self.history.sights.append(
                Sight(
                    device=self.number,
                    epoch=place.epoch,
                    seq=place.seq,
                    at=time.time(),
                    versions=self._versions(),
                )
            )

    def _place(self) -> Cursor | None:
        from sync.conf import sync_settings
        from sync.cursor import Phase, parse_cursor

        text = self.client._engine._store.get_meta("cursor")
        if text is None:
            return None
        place = parse_cursor(text, sync_settings().cursor_key, self.history.tenant_id)
        return place if place.phase is Phase.FEED else None

    def _versions(self) -> dict[Name, int]:
        store = self.client._engine._store
        return {
            (collection, row_id): version
            for collection in TEXTS
            for row_id, version, _ in store.list_slice(collection, "", ALL)
        }

    def count_down(self) -> None:
        """An effect; the device may die of it.

        Raises:
            Died: it does.
        """
        if self.dies_at is None:
            return
        if self.dies_at:
            self.dies_at -= 1
            return
        self.dies_at = None
        self.left = self.path.with_name(f"{self.path.stem}+.db")
        for suffix in ("", "-wal"):
            source = Path(f"{self.path}{suffix}")
            if source.exists():
                shutil.copyfile(source, f"{self.left}{suffix}")
        raise Died
