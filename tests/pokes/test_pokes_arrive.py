"""A device that waits hears of a change at once, whichever process wrote it; others do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from backend.accounts.models import Role
from tests.phones import World, create, new_id, update
from tests.pokes.conftest import head_of
from tests.pokes.rig import Watch, push, served

PUSHES = 100


def test_poke_arrives_from_another_process(pair: Any, wales: World) -> None:
    """Workers share nothing but the database and the line."""
    here, there = pair
    dora = wales.hire(Role.DISPATCHER)

    with Watch(here, wales.hire()) as watch:
        connected = watch.next_poke()
        push(there, dora, create("work_orders", **wales.order()))
        head = watch.next_poke()

    assert (connected, head) == (head_of(wales) - 1, head_of(wales))


def test_only_devices_with_something_to_pull_are_poked(pair: Any, wales: World) -> None:
    """A poke is a pull: a thousand phones must not come for a row that one of them sees."""
    here, there = pair
    dora = wales.hire(Role.DISPATCHER)
    alice, tom = wales.hire(), wales.hire(territories=[wales.newport])

    with Watch(here, alice) as of_alice, Watch(here, tom) as of_tom:
        first = of_alice.next_poke(), of_tom.next_poke()
        push(there, dora, create("work_orders", **wales.order(site=wales.other_site)))
        for_tom = of_tom.next_poke()
        push(there, dora, create("work_orders", **wales.order()))
        for_alice = of_alice.next_poke()

    assert first == (for_tom - 1, for_tom - 1)
    assert (for_tom, for_alice) == (head_of(wales) - 1, head_of(wales))


def test_row_that_leaves_pokes_both_sides(pair: Any, wales: World) -> None:
    """Whoever loses it must forget it, whoever gains it must fetch it."""
    here, there = pair
    dora = wales.hire(Role.DISPATCHER)
    alice, tom = wales.hire(), wales.hire(territories=[wales.newport])
    order = create("work_orders", **wales.order())
    push(there, dora, order)

    with Watch(here, alice) as of_alice, Watch(here, tom) as of_tom:
        assert of_alice.next_poke() == of_tom.next_poke()
        push(there, dora, update("work_orders", order["id"], 1, site=wales.other_site))
        heads = of_alice.next_poke(), of_tom.next_poke()

    assert heads == (head_of(wales), head_of(wales))


def test_other_tenant_is_never_poked(pair: Any, wales: World, northwind: World) -> None:
    """Not even about how much happens elsewhere, though both have a scope of the same name."""
    here, there = pair
    dora, nora = wales.hire(Role.DISPATCHER), northwind.hire(Role.DISPATCHER)
    territories = [create("territories", name=f"{wales.canary} {n}") for n in range(5)]

    with Watch(here, dora) as of_dora, Watch(here, nora) as of_nora:
        assert of_dora.next_poke() == of_nora.next_poke()
        push(there, dora, *territories)
        for_dora = of_dora.next_poke()
        push(there, nora, create("territories", name=f"{northwind.canary} North"))
        for_nora = of_nora.next_poke()

    assert (for_dora, for_nora) == (head_of(wales), head_of(northwind))
    assert for_dora == for_nora + 4


def test_change_of_very_many_scopes_pokes_everybody(redis_pair: Any, wales: World) -> None:
    """Rather a pull too many than a message without a bound."""
    here, there = redis_pair
    dora, alice = wales.hire(Role.DISPATCHER), wales.hire()
    territories = [new_id() for _ in range(100)]
    push(there, dora, *(create("territories", each, name=each[-6:]) for each in territories))

    with Watch(here, alice) as watch:
        watch.next_poke()
        push(there, dora, *(create("sites", name="x", territory=each) for each in territories))
        head = watch.next_poke()

    assert head == head_of(wales)


def test_hundred_pushes_are_few_pokes(wales: World, tmp_path: Path, redis_pair: Any) -> None:
    """One device that writes much must not make all others pull as often."""
    _, there = redis_pair
    dora = wales.hire(Role.DISPATCHER)
    poked: list[int] = []

    with (
        served(tmp_path, POKE_URL="postgresql:", POKE_POLL_S=0.01, POKE_GAP_S=4) as here,
        Watch(here, wales.hire()) as watch,
    ):
        for _ in range(PUSHES):
            push(there, dora, create("work_orders", **wales.order()))
        while not poked or poked[-1] < head_of(wales):
            poked.append(watch.next_poke())

    assert len(poked) < PUSHES / 3
    assert poked == sorted(set(poked))
