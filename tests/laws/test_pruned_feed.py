"""Law: a cursor at or above the floor goes on to the truth, one below it is refused. No third way.

It holds for every cursor that phones were given on the way, at the end of a pull and in the midst
of a first one, after a prune that went through or ended between any two of its chunks.
"""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from backend.accounts.models import Role
from backend.fieldwork.access import resolve_device
from sync import local_edits
from sync.models import ChangeRow
from sync.types import Mutation
from tests.phones import PULL, Phone, World, make_world, new_id
from tests.sync.aging import let_pass, prune, stream
from tests.sync.agreement import findings_of

ORDERS = 4  # rows that a history is about: few, so that it comes back to them
_numbers = itertools.count(1)

orders = st.integers(0, ORDERS - 1)
steps = st.one_of(
    st.tuples(st.just("delete"), orders),
    st.tuples(st.just("edit"), orders),
    st.tuples(st.just("assign"), orders),
    st.tuples(st.just("move"), orders),
)
histories = st.lists(steps, min_size=4, max_size=8)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A phone as it was: `heard` is the head up to which it knows of all that is gone."""

    phone: Phone
    heard: int


class History:
    """What happens to some work orders at a site that moves, and phones that watch."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.technician, self.dispatcher = world.hire(), world.hire(Role.DISPATCHER)
        self.snapshots: list[Snapshot] = []
        self._ids = [new_id() for _ in range(ORDERS)]
        self._apply(*(self._new(row_id) for row_id in self._ids))

    def step(self, op: str, which: int) -> None:
        """Do one thing, and let everybody look."""
        row_id = self._ids[which]
        match op:
            case "delete":
                self._ids[which] = new_id()
                self._apply(local_edits.delete("work_orders", row_id))
                self._apply(self._new(self._ids[which]))
            case "move":
                territory = [self.world.cardiff, self.world.newport][which % 2]
                self._apply(local_edits.update("sites", self.world.site, {"territory": territory}))
            case "assign":
                to = str(self.technician.user_id) if which % 2 else None
                self._apply(local_edits.update("work_orders", row_id, {"assignee": to}))
            case _:
                self._apply(local_edits.update("work_orders", row_id, {"title": new_id()}))

    def _new(self, row_id: str) -> Mutation:
        return local_edits.create("work_orders", self.world.order(), row_id)

    def _apply(self, *mutations: Mutation) -> None:
        local_edits.apply(self.world.tenant.pk, mutations)
        beginner = dataclasses.replace(self.dispatcher, cursor=None, rows={})
        beginner.pull_page(limit=3)
        self.technician.pull()
        self.dispatcher.pull()
        heard = stream(self.world.tenant.pk).head
        for phone in (beginner, self.technician, self.dispatcher):
            copy = dataclasses.replace(phone, rows=dict(phone.rows))
            self.snapshots.append(Snapshot(phone=copy, heard=heard))


def truth(phone: Phone) -> dict[tuple[str, str], int]:
    """Return the rows in the scopes that the phone holds, with their versions, as the log has them."""
    device = resolve_device(phone.device_id)
    assert device is not None
    live = ChangeRow.objects.filter(
        tenant_id=phone.tenant_id, op="upsert", scopes__overlap=sorted(device.actor.scopes)
    )
    return {(row.collection, row.row_id): row.version for row in live}


@pytest.mark.django_db
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(histories, st.floats(0.3, 1), st.integers(1, 9), st.sampled_from([1, 2, None]))
def test_cursor_goes_on_to_the_truth_or_is_refused(
    history: list[tuple[str, int]], old: float, chunk_rows: int, chunks: int | None
) -> None:
    """Whatever happened, whatever part of it is old, and wherever the prune ended."""
    world = make_world(f"law-{next(_numbers)}")
    told = History(world)
    for op, which in history:
        told.step(op, which)
    head = stream(world.tenant.pk).head
    let_pass(world.tenant.pk, 91, until=round(old * head))

    floor = prune(world.tenant.pk, chunk_rows=chunk_rows, chunks=chunks)

    assert findings_of(world) == []
    assert floor <= head
    truths = {phone.user_id: truth(phone) for phone in (told.technician, told.dispatcher)}
    for snapshot in told.snapshots:
        phone = snapshot.phone
        if snapshot.heard >= floor:
            phone.pull()
            seen = {key: version for key, (version, _) in phone.rows.items()}
            assert seen == truths[phone.user_id]
        else:
            answer = phone.send("GET", f"{PULL}?cursor={phone.cursor}")
            assert (answer.status_code, answer.json()["code"]) == (410, "cursor_expired")
