"""Law: a cursor at or above the floor goes on to the truth, one below it is refused. No third way.

It holds for every cursor that phones were given on the way, at the end of a pull and in the midst
of a first one, after a prune that went through or ended between any two of its chunks.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from backend.accounts.models import Role
from backend.fieldwork.access import resolve_device
from sync.models import ChangeRow
from tests.phones import PULL, Phone, World, create, delete, make_world, update
from tests.sync.aging import let_pass, prune, stream
from tests.sync.agreement import findings_of

SLOTS = 4  # rows that a history is about: few, so that it comes back to them
_numbers = itertools.count(1)

slots = st.integers(0, SLOTS - 1)
steps = st.one_of(
    st.tuples(st.just("create"), slots),
    st.tuples(st.just("edit"), slots),
    st.tuples(st.just("delete"), slots),
    st.tuples(st.just("assign"), slots),
    st.tuples(st.just("move"), st.booleans()),
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A phone as it was: `heard` is the head up to which it knows of all that is gone."""

    phone: Phone
    heard: int


@dataclasses.dataclass
class History:
    """What happens to some work orders of a site that moves, and phones that watch."""

    world: World
    dora: Phone = dataclasses.field(init=False)
    watchers: list[Phone] = dataclasses.field(init=False)
    orders: dict[int, str] = dataclasses.field(default_factory=dict)
    snapshots: list[Snapshot] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        world = self.world
        self.dora = world.hire(Role.DISPATCHER)
        self.watchers = [world.hire(), world.hire(territories=[world.newport]), self.dora]

    def step(self, op: str, which: int) -> None:
        """Do one thing, and let the watchers pull or begin to."""
        self.dora.pull()
        for mutation in self._mutations(op, which):
            (line,) = self.dora.push(mutation)
            assert line["outcome"] in {"created", "updated", "deleted", "unchanged"}, line
        self._look()

    def _mutations(self, op: str, which: int) -> list[dict[str, Any]]:
        order = self.orders.get(which)
        if op == "move":
            territory = self.world.newport if which else self.world.cardiff
            version = self.dora.version("sites", self.world.site)
            return [update("sites", self.world.site, version, territory=territory)]
        if op == "create" and order is None:
            made = create("work_orders", **self.world.order())
            self.orders[which] = made["id"]
            return [made]
        if order is None or op == "create":
            return []
        version = self.dora.version("work_orders", order)
        if op == "delete":
            del self.orders[which]
            return [delete("work_orders", order, version)]
        edit = (
            {"title": f"{self.world.canary} {version}"}
            if op == "edit"
            else {"assignee": str(self.watchers[version % 2].user_id)}
        )
        return [update("work_orders", order, version, **edit)]

    def _look(self) -> None:
        heard = stream(self.world.tenant.pk).head
        for phone in self.watchers:
            phone.pull()
            self._keep(phone, heard)
        beginner = dataclasses.replace(self.dora, cursor=None, rows={})
        beginner.pull_page(limit=2)
        self._keep(beginner, heard)

    def _keep(self, phone: Phone, heard: int) -> None:
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
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(steps, min_size=3, max_size=9),
    st.floats(0, 1),
    st.integers(1, 5),
    st.one_of(st.none(), st.integers(0, 3)),
)
def test_cursor_goes_on_to_the_truth_or_is_refused(
    history: list[tuple[str, Any]], old: float, chunk_rows: int, chunks: int | None
) -> None:
    """Whatever happened, whatever part of it is old, and wherever the prune ended."""
    world = make_world(f"law-{next(_numbers)}")
    told = History(world)
    for op, which in history:
        told.step(op, int(which))
    head = stream(world.tenant.pk).head
    let_pass(world.tenant.pk, 91, until=round(old * head))

    floor = prune(world.tenant.pk, chunk_rows=chunk_rows, chunks=chunks)

    assert findings_of(world) == []
    assert floor <= head
    truths = {phone.user_id: truth(phone) for phone in told.watchers}
    for snapshot in told.snapshots:
        phone = snapshot.phone
        answer = phone.send("GET", f"{PULL}?cursor={phone.cursor}")
        if snapshot.heard < floor:
            assert (answer.status_code, answer.json()["code"]) == (410, "cursor_expired")
            continue
        phone.pull(limit=3)
        seen = {key: version for key, (version, _) in phone.rows.items()}
        assert seen == truths[phone.user_id]
