"""What the report says of mutations that depend on each other: culprits, versions, what is shown."""

from __future__ import annotations

from typing import Any

import pytest

from sync.plan import Plan
from sync.refusals import invalid
from sync.types import FieldError, Mutation, Outcome, Policy, Refusal
from tests.sync.test_plan import (
    AT5,
    HIDDEN,
    codes,
    create,
    delete,
    outcomes,
    plan,
    row,
    update,
)

BAD = invalid([FieldError(path="title", code="max_length", detail="")])


def blocked_by(found: Plan, index: int) -> Any:
    refusal = found.results[index].refusal
    assert refusal is not None
    return refusal.args["blocked_by"]["index"]


@pytest.mark.parametrize(
    "edits",
    [
        [delete("w", 5)],
        [update("w", 5, title="b"), delete("w", 5)],
        [update("w", 5, title="b"), update("w", 5, title="c"), delete("w", 5)],
    ],
)
def test_tombstone_has_the_version_that_the_report_gave(edits: list[Mutation]) -> None:
    """Every edit counts; a device that was told 7 must not pull a deletion of version 6."""
    found = plan([*edits, delete("w", 5)], AT5)

    (write,) = found.writes
    assert write.after is None
    assert write.version == 5 + len(edits)
    assert outcomes(found)[-2:] == [f"deleted@{write.version}", f"unchanged@{write.version}"]


def test_three_edits_on_one_old_base_build_on_each_other() -> None:
    """What the push itself changed, two edits before as well, is no edit of others."""
    edits = [update("w", 5, title="b"), update("w", 5, state="x"), update("w", 5, title="c")]

    found = plan(edits, AT5)

    assert outcomes(found) == ["updated@6", "updated@7", "updated@8"]


def test_row_that_was_made_in_the_push_is_nobody_else_s() -> None:
    """Whatever base its edits name, all of it is the push's own."""
    found = plan([create("w", title="a"), update("w", 0, title="b")])

    assert outcomes(found) == ["created@1", "updated@2"]


def test_field_that_a_policy_wrote_counts_as_changed() -> None:
    """Else a later edit of it would overwrite unseen what the policy did."""
    found = plan(
        [update("w", 3, of="logs", title="b")], {("logs", "w"): row(5, title="a", merges=0)}
    )

    (write,) = found.writes
    assert write.after is not None
    assert write.after.field_versions == {"title": 6, "merges": 6}


def test_what_is_done_to_a_row_that_was_not_made_names_its_first_create() -> None:
    """The app mends the first refusal, and the rest follows."""
    batch = [create("w", title="a"), create("w", title="b"), update("w", None, title="c"),
             create("n", of="notes", order="w")]  # fmt: skip

    found = plan(batch, refused={0: BAD})

    assert codes(found) == ["validation_failed", *["create_refused"] * 2, "parent_refused"]
    assert [blocked_by(found, index) for index in (1, 2, 3)] == [0, 0, 0]


def test_any_reference_to_a_row_that_was_refused_names_it() -> None:
    """Not the parent's alone: what is wrong is the other mutation, not this one."""
    found = plan(
        [create("f", of="forms", title="a"), create("n", of="notes", form="f")], refused={0: BAD}
    )

    assert codes(found) == ["validation_failed", "parent_refused"]
    assert blocked_by(found, 1) == 0


def test_innocents_name_the_first_culprit() -> None:
    """One of several, always the same: the one that was decided first."""
    batch = [update("x", 1, title="b"), create("w", title="a"), update("y", 1, title="b")]

    found = plan(batch, policy=Policy.ALL_OR_NOTHING)

    assert outcomes(found) == ["not_found", "not_applied", "not_found"]
    assert blocked_by(found, 1) == 0


def test_row_out_of_sight_is_not_shown_when_the_database_refuses() -> None:
    """A conflict shows the row as it is now: only to those who may see it."""
    refusal = Refusal(outcome=Outcome.CONFLICT, code="still_referenced", detail="")

    (hidden,) = plan([delete("w", 5)], HIDDEN, refused={0: refusal}).results
    (seen,) = plan([delete("w", 5)], AT5, refused={0: refusal}).results

    assert (hidden.version, hidden.current) == (None, None)
    assert (seen.version, seen.current) == (5, AT5["orders", "w"].data)


def test_group_that_touches_a_row_of_another_joins_all_of_it() -> None:
    """Two groups become one by a row in both, with every row that either of them has."""
    batch = [create("a", title="a", group="g1"), create("b", title="b", group="g2"),
             update("a", None, state="approved", group="g2")]  # fmt: skip

    found = plan(batch)

    assert outcomes(found) == ["not_applied", "not_applied", "conflict@1"]
    assert found.writes == []


def test_row_goes_where_its_create_puts_it_first() -> None:
    """A later edit may move it; its create still needs the row above."""
    batch = [create("c", of="areas", above="b"), create("b", of="areas", above=None),
             update("c", None, of="areas", above=None)]  # fmt: skip

    assert outcomes(plan(batch)) == ["created@1", "created@1", "updated@2"]


def test_tree_is_ordered_by_depth_wherever_it_is_entered() -> None:
    """A leaf that comes last hangs below rows whose depth is known by then."""
    batch = [create(row_id, of="areas", above=above)
             for row_id, above in [("c", "b"), ("d", "c"), ("b", "a"), ("e", "d"), ("a", None)]]  # fmt: skip

    assert outcomes(plan(batch)) == ["created@1"] * 5


def test_tree_is_deleted_from_below() -> None:
    """Whatever order it came in, and also when its rows were edited before."""
    rows = {("areas", "a"): row(1, above=None), ("areas", "b"): row(1, above="a"),
            ("areas", "c"): row(1, above="b")}  # fmt: skip
    edits = [update(row_id, 1, of="areas", name="x") for row_id in "abc"]
    deletes = [delete(row_id, 1, of="areas") for row_id in "abc"]

    for batch in (deletes, edits + deletes):
        assert [write.key.id for write in plan(batch, rows).writes] == ["c", "b", "a"]
