"""A worker process is killed at every point of a push: all or nothing, and the key is free."""

from __future__ import annotations

import psycopg
import pytest

from sync.failpoints import Point
from tests.faults.rig import LINK_DOWN, VISITED, WAITING, Rig


@pytest.mark.parametrize("point", Point)
def test_a_killed_worker_leaves_all_or_nothing(rig: Rig, point: Point) -> None:
    """The phone hears nothing, sends the same bytes again, and that settles it."""
    visit = rig.prepare_visit()
    before, head = rig.snapshot(), rig.head()

    catch = rig.control.catch(point)
    sending = rig.at_once(lambda: rig.dora.push(visit.body, visit.key))
    catch.wait().kill()
    with pytest.raises(LINK_DOWN):
        sending.result()

    is_committed = point is Point.COMMITTED
    assert (rig.snapshot() != before) == is_committed
    assert rig.head() == head + (visit.changes if is_committed else 0)
    assert rig.disagreements() == []

    again = rig.dora.push(visit.body, visit.key)

    assert (again.status, again.is_replay) == (200, is_committed)
    assert again.outcomes == VISITED
    assert rig.head() == head + visit.changes


def test_a_worker_killed_while_it_waits_for_a_row_frees_its_key(rig: Rig) -> None:
    """Its session waits on in PostgreSQL, and knows nothing of the death until it has the row."""
    visit = rig.prepare_visit()
    head = rig.head()

    with psycopg.connect(rig.postgres.owner_url) as office:
        office.execute("SELECT FROM work_order WHERE id = %s FOR UPDATE", [visit.edited_id])
        catch = rig.control.catch(Point.CLAIMED)
        sending = rig.at_once(lambda: rig.dora.push(visit.body, visit.key))
        caught = catch.wait()
        caught.let_go()
        rig.wait_until_asked(WAITING, ["%work_order%"], at_least=1)
        caught.kill()
        with pytest.raises(LINK_DOWN):
            sending.result()

    again = rig.dora.push(visit.body, visit.key)

    assert (again.status, again.is_replay) == (200, False)
    assert again.outcomes == VISITED
    assert rig.head() == head + visit.changes
