"""What pokes travel on may die, hang, come back empty or not be there: that costs time only."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import redis

from backend.accounts.models import Role
from backend.devstack.server import ROOT
from sync.models import Stream
from sync.pokes.message import Poke, render
from tests.faults.rig import wait_until
from tests.phones import World, create
from tests.pokes.conftest import head_of
from tests.pokes.rig import Watch, environ_for, own_channel, push, served

SOON_S = 0.3  # of asking the database, where a test is about that

WRITE_AND_END = """
import sys
import django
django.setup()
from sync import local_edits
local_edits.apply(sys.argv[1], [local_edits.create("territories", {"name": "North"})])
"""


def test_dead_redis_fails_no_push_and_costs_time_only(
    wales: World, tmp_path: Path, valkey: Any
) -> None:
    """Killed in mid-work: the database is asked now and then, and knows."""
    dora = wales.hire(Role.DISPATCHER)

    with (
        served(tmp_path, POKE_URL=valkey.url, POKE_POLL_S=SOON_S) as server,
        Watch(server, wales.hire()) as watch,
    ):
        watch.next_poke()
        os.kill(valkey.pid, signal.SIGKILL)
        push(server, dora, create("work_orders", **wales.order()))

        assert watch.next_poke() == head_of(wales)


def test_redis_that_hangs_costs_time_only(wales: World, tmp_path: Path, valkey: Any) -> None:
    """It takes connections and says nothing: the worst that it can do."""
    dora = wales.hire(Role.DISPATCHER)

    with (
        served(tmp_path, POKE_URL=valkey.url, POKE_POLL_S=SOON_S) as server,
        Watch(server, wales.hire()) as watch,
    ):
        watch.next_poke()
        os.kill(valkey.pid, signal.SIGSTOP)
        try:
            for _ in range(3):
                push(server, dora, create("work_orders", **wales.order()))
                assert watch.next_poke() == head_of(wales)
        finally:
            os.kill(valkey.pid, signal.SIGCONT)


def test_what_was_missed_is_found_when_the_line_is_back(
    wales: World, tmp_path: Path, valkey: Any
) -> None:
    """Nobody asks by the clock here: the new subscription itself is a reason to ask."""
    dora = wales.hire(Role.DISPATCHER)

    with served(tmp_path, POKE_URL=valkey.url) as server, Watch(server, wales.hire()) as watch:
        watch.next_poke()
        valkey.stop()
        push(server, dora, create("work_orders", **wales.order()))
        valkey.restart()
        assert watch.next_poke() == head_of(wales)
        push(server, dora, create("work_orders", **wales.order()))

        assert watch.next_poke() == head_of(wales)


def test_flushed_redis_changes_nothing(wales: World, tmp_path: Path, valkey: Any) -> None:
    """Nothing is stored there."""
    dora = wales.hire(Role.DISPATCHER)

    with (
        served(tmp_path, POKE_URL=valkey.url) as server,
        Watch(server, wales.hire()) as watch,
        redis.Redis.from_url(valkey.url) as client,
    ):
        watch.next_poke()
        client.flushall()
        push(server, dora, create("work_orders", **wales.order()))

        assert watch.next_poke() == head_of(wales)
        assert client.dbsize() == 0


def test_nonsense_on_the_channel_is_passed_over(wales: World, tmp_path: Path, valkey: Any) -> None:
    """Others may use the same Redis; nothing is believed of what they say there."""
    dora = wales.hire(Role.DISPATCHER)

    with (
        served(tmp_path, POKE_URL=valkey.url) as server,
        Watch(server, wales.hire()) as watch,
        redis.Redis.from_url(valkey.url) as client,
    ):
        watch.next_poke()
        wait_until(lambda: client.pubsub_numsub(own_channel())[0][1] > 0)
        for data in (b"", b"\xff\x00", b"[]", b'{"tenant_id": 7}', b"9" * 100_000):
            client.publish(own_channel(), data)
        push(server, dora, create("work_orders", **wales.order()))

        assert watch.next_poke() == head_of(wales)


def test_forged_poke_silences_nobody(wales: World, tmp_path: Path, valkey: Any) -> None:
    """It tells of a head that is far away: all later pokes would be old news."""
    dora = wales.hire(Role.DISPATCHER)
    forged = Poke(tenant_id=wales.tenant.pk, head=10**15, scopes=None)

    with (
        served(tmp_path, POKE_URL=valkey.url, POKE_POLL_S=SOON_S) as server,
        Watch(server, wales.hire()) as watch,
        redis.Redis.from_url(valkey.url) as client,
    ):
        watch.next_poke()
        wait_until(lambda: client.publish(own_channel(), render(forged)) > 0)
        assert watch.next_poke() == forged.head
        push(server, dora, create("work_orders", **wales.order()))

        wait_until(lambda: watch.next_poke() == head_of(wales))  # one more may come before


def test_without_any_line_the_database_is_asked(wales: World, tmp_path: Path) -> None:
    """And only those are poked who have something, as with a line."""
    dora = wales.hire(Role.DISPATCHER)
    alice, tom = wales.hire(), wales.hire(territories=[wales.newport])

    with (
        served(tmp_path, POKE_URL="", POKE_POLL_S=SOON_S) as server,
        Watch(server, alice) as of_alice,
        Watch(server, tom) as of_tom,
    ):
        assert of_alice.next_poke() == of_tom.next_poke()
        push(server, dora, create("work_orders", **wales.order(site=wales.other_site)))
        for_tom = of_tom.next_poke()
        push(server, dora, create("work_orders", **wales.order()))
        for_alice = of_alice.next_poke()

    assert (for_tom, for_alice) == (head_of(wales) - 1, head_of(wales))


def test_restored_database_pokes_everybody(wales: World, tmp_path: Path) -> None:
    """The head went back: what devices were told counts no more."""
    with (
        served(tmp_path, POKE_URL="", POKE_POLL_S=SOON_S) as server,
        Watch(server, wales.hire()) as watch,
    ):
        head = watch.next_poke()
        push(server, wales.hire(Role.DISPATCHER), create("work_orders", **wales.order()))
        assert watch.next_poke() == head + 1
        Stream.objects.filter(tenant_id=wales.tenant.pk).update(head=head)

        assert watch.next_poke() == head


def test_command_that_ends_at_once_loses_no_poke(redis_pair: Any, wales: World) -> None:
    """An import pokes with its last commit, and is gone."""
    here, _ = redis_pair
    head = head_of(wales)

    with Watch(here, wales.hire()) as watch:
        watch.next_poke()
        subprocess.run(  # noqa: S603  # our own program
            [sys.executable, "-c", WRITE_AND_END, str(wales.tenant.pk)],
            env={**os.environ, **environ_for(POKE_URL=os.environ["REDIS_URL"])},
            cwd=ROOT,
            check=True,
            timeout=60,
        )

        assert watch.next_poke() == head + 1


def test_dead_redis_is_logged_once(wales: World, tmp_path: Path, valkey: Any) -> None:
    """A line a minute says it; a line a push would fill the disk."""
    dora = wales.hire(Role.DISPATCHER)

    with (
        served(tmp_path, POKE_URL=valkey.url, POKE_POLL_S=SOON_S) as server,
        Watch(server, wales.hire()) as watch,
    ):
        watch.next_poke()
        valkey.stop()
        for _ in range(5):
            push(server, dora, create("work_orders", **wales.order()))
            watch.next_poke()
        log = server.child.log
        assert log is not None
        wait_until(lambda: "pokes are lost" in log.read_text())

        assert log.read_text().count("pokes are lost") == 1
