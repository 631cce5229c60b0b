"""The same request several times: at once, after a lost answer, after a new token."""

from __future__ import annotations

import random
from contextlib import ExitStack
from functools import partial

import pytest

from sync.failpoints import Point
from sync.testing.faulty_link import Fault, faulty_link
from tests.faults.rig import ANSWER_S_MAX, LINK_DOWN, WAITING, Reply, Rig, WireCaller


def is_told_to_come_back(reply: Reply) -> bool:
    return (
        reply.status == 409
        and reply.code == "request_in_flight"
        and reply.headers["retry-after"] == "1"
    )


def test_the_same_request_at_once_in_several_processes_runs_once(rig: Rig) -> None:
    """A nervous phone and a proxy that repeats: one effect, and the same bytes for all."""
    visit = rig.prepare_visit()
    head = rig.head()

    with ExitStack() as lines:
        one = lines.enter_context(rig.line_to_another(0)).process_id()
        other = lines.enter_context(rig.line_to_another(one)).process_id()
        phones = [lines.enter_context(rig.line_to_another(n)) for n in (one, other) * 4]
        twins = [rig.at_once(partial(phone.push, visit.body, visit.key)) for phone in phones]
        replies = [twin.result(ANSWER_S_MAX) for twin in twins]

    assert {reply.process_id for reply in replies} == {one, other}
    served = [reply for reply in replies if reply.status == 200]
    assert [reply.is_replay for reply in served].count(False) == 1
    assert len({reply.body for reply in served}) == 1
    assert all(is_told_to_come_back(reply) for reply in replies if reply not in served)
    assert rig.head() == head + visit.changes


def test_twins_that_wait_for_a_slow_first_are_answered_with_its_bytes(rig: Rig) -> None:
    """They wait in the database, in whichever process they are, and see it commit."""
    visit = rig.prepare_visit()

    catch = rig.control.catch(Point.LOGGED)
    first = rig.at_once(lambda: rig.dora.push(visit.body, visit.key))
    caught = catch.wait()
    twins = [rig.at_once(lambda: rig.dora.push(visit.body, visit.key)) for _ in range(3)]
    rig.wait_until_asked(WAITING, ["%INSERT INTO sync_request%"], at_least=1)
    caught.let_go()

    assert not first.result(ANSWER_S_MAX).is_replay
    for twin in twins:
        reply = twin.result(ANSWER_S_MAX)
        assert is_told_to_come_back(reply) or (
            reply.is_replay and reply.body == first.result().body
        )


def test_a_twin_of_one_that_takes_too_long_is_told_to_come_back(rig: Rig) -> None:
    """Longer than LOCK_WAIT_MS: 409 and Retry-After; what the first does is not disturbed."""
    visit = rig.prepare_visit()

    catch = rig.control.catch(Point.APPLIED)
    first = rig.at_once(lambda: rig.dora.push(visit.body, visit.key))
    caught = catch.wait()
    twin = rig.dora.push(visit.body, visit.key)
    caught.let_go()

    assert is_told_to_come_back(twin)
    assert (first.result(ANSWER_S_MAX).status, first.result().is_replay) == (200, False)
    again = rig.dora.push(visit.body, visit.key)
    assert (again.is_replay, again.body) == (True, first.result().body)


def test_a_twin_of_one_that_dies_carries_it_out(rig: Rig) -> None:
    """The first is killed while its twin waits for it: the twin has the key, nobody is stuck."""
    visit = rig.prepare_visit()
    head = rig.head()

    catch = rig.control.catch(Point.LOGGED)
    first = rig.at_once(lambda: rig.dora.push(visit.body, visit.key))
    caught = catch.wait()
    with rig.line_to_another(caught.process_id) as elsewhere:
        twin = rig.at_once(lambda: elsewhere.push(visit.body, visit.key))
        rig.wait_until_asked(WAITING, ["%INSERT INTO sync_request%"], at_least=1)
        caught.kill()
        reply = twin.result(ANSWER_S_MAX)

    with pytest.raises(LINK_DOWN):
        first.result(ANSWER_S_MAX)
    assert (reply.status, reply.is_replay) == (200, False)
    assert rig.head() == head + visit.changes


@pytest.mark.parametrize("fault", [Fault.ANSWER_LOST, Fault.ANSWER_TRUNCATED])
def test_resend_after_a_lost_answer_changes_nothing(rig: Rig, fault: Fault) -> None:
    """The classic duplicate: committed, the link is cut, and the phone cannot know."""
    visit = rig.prepare_visit()
    head = rig.head()

    with faulty_link(rig.server.url, rng=random.Random(1)) as link:
        far_away = rig.hire("dora", install_id="dora-3", url=link.url)
        link.force(fault)
        with pytest.raises(LINK_DOWN):
            far_away.push(visit.body, visit.key)
        after = rig.snapshot()
        replies = [far_away.push(visit.body, visit.key) for _ in range(2)]

    assert [reply.is_replay for reply in replies] == [True, True]
    assert replies[0].body == replies[1].body == stored_answer(rig, visit.key)
    assert rig.snapshot() == after
    assert rig.head() == head + visit.changes


def test_a_doubled_request_runs_once(rig: Rig) -> None:
    """The line delivers one request twice, at the same moment, on two connections."""
    visit = rig.prepare_visit()
    head = rig.head()

    with faulty_link(rig.server.url, rng=random.Random(1)) as link:
        far_away = rig.hire("dora", install_id="dora-3", url=link.url)
        link.force(Fault.DOUBLED)
        reply = far_away.push(visit.body, visit.key)

    assert reply.status == 200
    assert reply.body == stored_answer(rig, visit.key)
    assert rig.head() == head + visit.changes


def test_a_retry_with_another_token_is_the_same_request(rig: Rig) -> None:
    """Two weeks later: the token was refreshed, the app upgraded and logged in again."""
    visit = rig.prepare_visit()
    dora = rig.hire("dora", install_id="dora-2")  # to log in again ends what the rig's own holds
    first = dora.push(visit.body, visit.key)
    after = rig.snapshot()

    tokens = {dora.access}
    dora.renew()
    tokens.add(dora.access)
    refreshed = dora.push(visit.body, visit.key)
    upgraded_app = WireCaller(url=rig.server.url)
    upgraded_app.log_in("dora", install_id="dora-2", app_version="2")
    tokens.add(upgraded_app.access)
    upgraded = upgraded_app.push(visit.body, visit.key)

    assert len(tokens) == 3
    assert refreshed.is_replay
    assert upgraded.is_replay
    assert refreshed.body == upgraded.body == first.body
    assert rig.snapshot() == after


def stored_answer(rig: Rig, key: str) -> bytes:
    ((answer,),) = rig.query("SELECT answer FROM sync_request WHERE key = %s", [key])
    return bytes(answer)
