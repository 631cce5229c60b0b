"""PostgreSQL is taken away in the middle of a push: 503, never a guess; the key tells the retry."""

from __future__ import annotations

import os
import signal
import uuid
from functools import partial

import pytest

from sync.failpoints import Point
from sync.testing.database_link import CommitFate
from tests.faults.rig import ANSWER_S_MAX, CALLERS, SITE, Reply, Rig, push_body
from tests.phones import create

OUTCOMES = ["created", "created", "updated", "deleted"]


def assert_unavailable(reply: Reply) -> None:
    assert (reply.status, reply.code) == (503, "temporarily_unavailable")
    assert int(reply.headers["retry-after"]) > 0


def push_one(rig: Rig) -> Reply:
    order = create("work_orders", kind="repair", site=SITE, title="x")
    return rig.dora.push(push_body([order]), str(uuid.uuid4()))


def push_everywhere(rig: Rig) -> list[Reply]:
    """Push as many at once as the workers have threads."""
    pushes = [rig.at_once(partial(push_one, rig)) for _ in range(CALLERS)]
    return [push.result(ANSWER_S_MAX) for push in pushes]


@pytest.mark.parametrize("point", Point)
def test_a_session_that_is_terminated_is_a_503(rig: Rig, point: Point) -> None:
    """An operator, or a failover, ends the connection of a push that is under way."""
    visit = rig.prepare_visit()
    before, head = rig.snapshot(), rig.head()
    is_committed = point is Point.COMMITTED

    catch = rig.control.catch(point)
    sending = rig.at_once(lambda: rig.dora.push(visit.body, visit.key))
    caught = catch.wait()
    rig.query("SELECT pg_terminate_backend(%s, 10000)", [caught.database_process_id])
    caught.let_go()
    reply = sending.result()

    assert (rig.snapshot() != before) == is_committed
    if is_committed:
        assert (reply.status, reply.is_replay) == (200, False)
    else:
        assert_unavailable(reply)

    again = rig.dora.push(visit.body, visit.key)

    assert (again.status, again.is_replay) == (200, is_committed)
    assert again.outcomes == OUTCOMES
    assert rig.head() == head + visit.changes


@pytest.mark.parametrize("point", Point)
def test_a_crash_of_postgres_is_a_503(rig: Rig, point: Point) -> None:
    """Kill -9 of one session makes the whole server end all others and recover."""
    visit = rig.prepare_visit()
    head = rig.head()
    is_committed = point is Point.COMMITTED

    catch = rig.control.catch(point)
    sending = rig.at_once(lambda: rig.dora.push(visit.body, visit.key))
    caught = catch.wait()
    os.kill(caught.database_process_id, signal.SIGKILL)
    rig.query("SELECT 1")
    caught.let_go()
    reply = sending.result()

    assert rig.head() == head + (visit.changes if is_committed else 0)
    if not is_committed:
        assert_unavailable(reply)

    again = rig.dora.push_until_served(visit.body, visit.key)

    assert (again.status, again.is_replay) == (200, is_committed)
    assert again.outcomes == OUTCOMES
    assert rig.head() == head + visit.changes


@pytest.mark.parametrize("fate", CommitFate)
def test_a_commit_in_doubt_is_a_503_and_the_key_knows(rig: Rig, fate: CommitFate) -> None:
    """The line breaks after COMMIT was sent. The server cannot know, so it must not say."""
    visit = rig.prepare_visit()
    head = rig.head()
    is_committed = fate is CommitFate.ANSWER_LOST

    rig.link.break_next_commit(fate)
    reply = rig.dora.push(visit.body, visit.key)

    assert rig.link.broken[-1] is fate
    assert_unavailable(reply)
    assert rig.head() == head + (visit.changes if is_committed else 0)

    again = rig.dora.push(visit.body, visit.key)

    assert (again.status, again.is_replay) == (200, is_committed)
    assert again.outcomes == OUTCOMES
    assert rig.head() == head + visit.changes


def test_postgres_away_is_a_503_and_its_return_is_noticed(rig: Rig) -> None:
    """Every thread keeps a connection; after a restart each of them must get a new one."""
    visit = rig.prepare_visit()
    assert {reply.status for reply in push_everywhere(rig)} == {200}

    rig.query.close()
    rig.postgres.stop()
    try:
        meanwhile = [rig.dora.push(visit.body, visit.key), *push_everywhere(rig)]
        pull = rig.dora.send("GET", "/api/v1/sync/pull")
    finally:
        rig.postgres.restart()

    for reply in [*meanwhile, pull]:
        assert_unavailable(reply)
    assert {reply.status for reply in push_everywhere(rig)} == {200}
    again = rig.dora.push(visit.body, visit.key)
    assert (again.status, again.is_replay) == (200, False)
