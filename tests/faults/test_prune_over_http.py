"""`manage.py sync_prune` as a process of its own, beside phones on a real server; and killed."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg

from backend.devstack.server import ROOT
from tests.crowd import at_once
from tests.faults.rig import SITE, WAITING, Rig, WireCaller, push_body, wait_until
from tests.phones import PULL, create, delete

PULLS_MAX = 20_000  # a loop that has not ended by then never does
DELETED = 240
AGE = """
UPDATE sync_change SET changed_at = changed_at - interval '100 days' WHERE tenant_id = %s RETURNING 1
"""
TOLD = """
SELECT seq FROM sync_entry WHERE tenant_id = %s AND op <> 'upsert'
UNION SELECT seq FROM sync_change WHERE tenant_id = %s AND op = 'delete'
"""
LIVE = "SELECT collection, row_id, version FROM sync_change WHERE tenant_id = %s AND op = 'upsert'"
FLOOR = "SELECT floor FROM sync_stream WHERE tenant_id = %s"

Replica = dict[tuple[str, str], int]


@dataclasses.dataclass(kw_only=True)
class Reader:
    """A phone that pulls over HTTP; `heard` is the head up to which it knows of all that is gone."""

    caller: WireCaller
    cursor: str = ""
    heard: int = 0
    refusals: int = 0
    rows: Replica = dataclasses.field(default_factory=dict)

    def pull_page(self, limit: int) -> bool:
        """Pull a page, or begin again when refused; return whether more is to come."""
        reply = self.caller.send("GET", f"{PULL}?limit={limit}&cursor={self.cursor}")
        if reply.status == 410:
            assert reply.code == "cursor_expired"
            self.refusals += 1
            self.cursor, self.rows = "", {}
            return True
        assert reply.status == 200, reply.body
        for change in reply.json["changes"]:
            key = change["collection"], change["id"]
            self.rows.pop(key, None)
            if change["op"] == "upsert":
                self.rows[key] = change["version"]
        self.cursor = reply.json["cursor"]
        return bool(reply.json["has_more"])

    def pull(self, limit: int = 500) -> Reader:
        for _ in range(PULLS_MAX):
            if not self.pull_page(limit):
                return self
        raise AssertionError("the pages of this pull never end")

    def watch(self, rig: Rig, is_over: threading.Event) -> None:
        """Go on pulling until it is over, and once more; be refused only below the floor."""
        for _ in range(PULLS_MAX):
            was_over, refusals = is_over.is_set(), self.refusals
            self.pull_page(limit=7)
            if self.refusals > refusals and self.heard:
                assert self.heard < floor_of(rig)
                self.heard = 0  # from here on it is a first sync, and heard of all before it
            if was_over:
                return


@contextmanager
def pruning(rig: Rig, chunk: int) -> Iterator[subprocess.Popen[bytes]]:
    """Prune in another process during the block; it is ended with it."""
    process = subprocess.Popen(  # noqa: S603  # our own command
        [sys.executable, "manage.py", "sync_prune", "--only", "tombstones", "--chunk", str(chunk)],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": rig.postgres.url, "DJANGO_SETTINGS_MODULE": "backend.settings.test"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def hire(rig: Rig) -> Reader:
    return Reader(caller=rig.hire("dora", install_id=str(uuid.uuid4())))


def floor_of(rig: Rig) -> int:
    ((floor,),) = rig.query(FLOOR, [rig.tenant_id])
    return int(floor)


def told(rig: Rig) -> set[int]:
    """Return the seqs under which the feed tells of rows that are gone."""
    return {seq for (seq,) in rig.query(TOLD, [rig.tenant_id] * 2)}


def live(rig: Rig) -> Replica:
    """Return what a dispatcher sees: all that there is."""
    return {(name, row_id): v for name, row_id, v in rig.query(LIVE, [rig.tenant_id])}


def push(rig: Rig, *mutations: dict[str, Any]) -> None:
    reply = rig.dora.push(push_body(mutations), str(uuid.uuid4()))
    assert reply.status == 200, reply.body


def bury(rig: Rig, count: int) -> Iterator[Reader]:
    """Delete rows a few at a time; yield a phone that has pulled up to there after each few."""
    orders = [create("work_orders", str(uuid.uuid4()), kind="repair", site=SITE, title="x") for _ in range(count)]  # fmt: skip
    push(rig, *orders)
    for n in range(0, count, count // 6):
        push(rig, *(delete("work_orders", each["id"], 1) for each in orders[n : n + count // 6]))
        reader = hire(rig).pull()
        reader.heard = rig.head()
        yield reader


def prune_and_write(rig: Rig, is_over: threading.Event) -> None:
    """Prune in small chunks; meanwhile rows come, and go again."""
    try:
        with pruning(rig, chunk=2) as process:
            for _ in range(PULLS_MAX):
                new = str(uuid.uuid4())
                push(rig, create("work_orders", new, kind="repair", site=SITE, title="y"))
                push(rig, delete("work_orders", new, 1))
                if process.poll() is not None:
                    break
        assert process.returncode == 0
    finally:
        is_over.set()


def test_devices_that_pull_while_tombstones_are_pruned_skip_nothing(rig: Rig) -> None:
    """Each ends with the rows that there are; only who had not heard of all that is gone is refused."""
    readers = list(bury(rig, DELETED))
    oldest, newest = dataclasses.replace(readers[0], rows={}), readers[-1]
    rig.query(AGE, [rig.tenant_id])
    before = told(rig)
    is_over = threading.Event()

    works = [partial(reader.watch, rig, is_over) for reader in readers]
    at_once([partial(prune_and_write, rig, is_over), *works])

    assert before.isdisjoint(told(rig))
    assert floor_of(rig) == max(before)
    assert newest.refusals == 0
    assert oldest.pull_page(limit=7)
    assert oldest.refusals == 1
    for reader in [*readers, oldest, hire(rig)]:
        assert reader.pull().rows == live(rig)


def test_prune_that_is_killed_leaves_the_floor_of_what_is_gone(rig: Rig) -> None:
    """In the midst of a chunk: what it had deleted is there again, and so is the floor."""
    readers = list(bury(rig, 30))
    rig.query(AGE, [rig.tenant_id])
    before = told(rig)
    later = sorted(seq for seq in before if seq > readers[0].heard)  # other tests buried as well
    middle = later[len(later) // 2]

    with psycopg.connect(rig.postgres.owner_url) as other, pruning(rig, chunk=4) as process:
        other.execute("SELECT FROM sync_entry WHERE seq = %s FOR UPDATE", [middle])
        rig.wait_until_asked(WAITING, ["%DELETE FROM sync_entry%"], at_least=1)
        process.send_signal(signal.SIGKILL)
        process.wait()
        floor, gone = floor_of(rig), before - told(rig)
        assert floor == max(gone) < middle
    wait_until(lambda: rig.query(WAITING, ["%DELETE FROM sync_entry%"]) == [(0,)])

    assert rig.disagreements() == []
    for reader in readers:
        is_refused = reader.heard < floor_of(rig)
        reader.pull(limit=9)
        assert reader.refusals == is_refused
        assert reader.rows == live(rig)
    assert {reader.refusals for reader in readers} == {0, 1}

    with pruning(rig, chunk=4) as again:
        assert again.wait(timeout=120) == 0
    assert before.isdisjoint(told(rig))
    assert floor_of(rig) == max(before)
