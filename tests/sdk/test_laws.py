"""Laws: whatever phones do and whatever happens to them, nobody's work is lost or done twice.

random edits on several phones  +  faults, kills, restores, clones, lost cursors
-> heal -> sync until quiet -> every invariant of `invariants`
"""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from histories import Step, copies, live, phones, restores
from hypothesis import HealthCheck, given, settings, strategies as st
from world import FIELDS

from fieldsync.merge import Candidate, Edit, choose_batch, coalesce, find_cut, local_view
from fieldsync.retry import RetryBudget, RetryPolicy
from fieldsync.wire import Op


def many(number: int) -> settings:
    """That many histories a chapter."""
    return settings(max_examples=number, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.usefixtures("chapter")
@many(150)
@given(phones)
def test_phones_converge_and_nothing_is_lost_or_doubled(steps: list[Step]) -> None:
    """The whole promise of the SDK in one property."""
    live(steps)


@pytest.mark.usefixtures("chapter")
@many(100)
@given(restores)
def test_restored_server_gets_back_what_no_pull_had_shown(steps: list[Step]) -> None:
    """The same after restores: what was acked and not seen, or never acked, must not be missing."""
    live(steps)


@pytest.mark.usefixtures("chapter")
@many(100)
@given(copies)
def test_restored_and_cloned_phones_do_no_harm(steps: list[Step]) -> None:
    """The same with stores that are copied: old keys, old cursors and old edits come again."""
    live(steps)


# merge


data = st.dictionaries(st.sampled_from(FIELDS), st.integers(0, 3))
edit_of = st.one_of(
    st.builds(lambda fields: Edit(op=Op.UPDATE, data=fields, base_version=1), data),
    st.just(Edit(op=Op.DELETE, data={}, base_version=1)),
)


@given(data, st.lists(edit_of, min_size=1, max_size=5))
def test_coalesced_edits_show_the_same_row(server: dict[str, int], made: list[Edit]) -> None:
    """However many edits are one mutation, the local view is the same."""
    one: Edit | None = made[0]
    until_delete = [made[0]]
    for edit in made[1:]:
        if until_delete[-1].op is Op.DELETE:
            break
        until_delete.append(edit)
        assert one is not None
        one = coalesce(one, edit)

    assert one is not None
    assert local_view(server, [one]) == local_view(server, until_delete)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([Op.CREATE, Op.UPDATE]),
            st.none() | st.integers(0, 12),
            st.frozensets(st.sampled_from("GHI"), max_size=2),
        ),
        max_size=12,
    ),
    st.integers(1, 5),
)
def test_batches_keep_groups_whole_and_take_everything(
    drawn: list[tuple[Op, int | None, frozenset[str]]], rows_max: int
) -> None:
    """Any outbox drains, in whole groups, and a lone row never waits for its child."""
    left = [
        Candidate(
            seq=at,
            row_id=f"r{at}",
            edit=Edit(op=op, data={"parent": f"r{ref}"}, base_version=1, groups=groups),
        )
        for at, (op, ref, groups) in enumerate(drawn)
    ]
    all_of_them = len(left)
    gone: set[int] = set()
    for _ in range(all_of_them + 1):
        batch = choose_batch(left, rows_max=rows_max)
        if not batch:
            break
        names = {name for candidate, _ in batch for name in candidate.edit.groups}
        gone |= {candidate.seq for candidate, _ in batch}
        left = [candidate for candidate in left if candidate.seq not in gone]
        assert not any(candidate.edit.groups & names for candidate in left)
        assert len(batch) <= rows_max or len({name for _, name in batch}) == 1
        sent_as = {candidate.row_id: name for candidate, name in batch}
        for candidate, _ in batch:
            assert (
                len({sent_as[c.row_id] for c, _ in batch if c.edit.groups & candidate.edit.groups})
                <= 1
            )
    assert (left, len(gone)) == ([], all_of_them)


def test_parents_go_before_children_across_batches() -> None:
    """A row edited early may point to one made later."""
    pump = Candidate(seq=2, row_id="pump", edit=Edit(op=Op.CREATE, data={}))
    order = Candidate(
        seq=1,
        row_id="order",
        edit=Edit(op=Op.UPDATE, data={"links": [{"asset": "pump"}]}, base_version=1),
    )

    batch = choose_batch([order, pump], rows_max=1)

    assert [candidate.row_id for candidate, _ in batch] == ["pump"]


@given(
    st.lists(st.none() | st.sampled_from("GH"), max_size=9).map(
        lambda names: sorted(names, key=str)
    )
)
def test_cut_never_parts_a_group(names: list[str | None]) -> None:
    """Neither half is empty, and no name is on both sides."""
    cut = find_cut(names)

    if cut is None:
        assert len(names) < 2 or (names[0] is not None and len(set(names)) == 1)
    else:
        assert 0 < cut < len(names)
        assert not (set(names[:cut]) & set(names[cut:])) - {None}


@given(st.integers(0, 2**32), st.lists(st.none() | st.floats(0, 100), max_size=30))
def test_retry_budget_ends(seed: int, asked: list[float | None]) -> None:
    """Never more waiting than the policy allows, never less than the server asked for."""
    policy = RetryPolicy(attempts_max=5, wait_s_max=40)
    budget = RetryBudget(policy, random.Random(seed))

    waits = []
    for retry_after_s in asked:
        wait_s = budget.next_wait_s(retry_after_s)
        if wait_s is None:
            break
        assert wait_s >= (retry_after_s or 0)
        waits.append(wait_s)

    assert len(waits) < policy.attempts_max
    assert sum(waits) <= policy.wait_s_max


def test_frozen_bodies_are_what_is_sent(server: Any, phone: Any) -> None:
    """A push body names its policy and only what changed."""
    row_id = phone["work_orders"].create({"title": "x"}, id="w1")
    phone.sync()

    ((key, body),) = server.pushes()

    assert key == f'"{key[1:-1]}"'
    assert json.loads(body) == {
        "policy": "per_row",
        "mutations": [
            {"op": "create", "collection": "work_orders", "id": row_id, "data": {"title": "x"}}
        ],
    }
