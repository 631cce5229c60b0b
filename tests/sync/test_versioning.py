"""Fields and single children as units of conflict: rules as tables."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from sync.fields import check_removable
from sync.plan import Rules
from sync.registry import ranked_collections
from sync.types import ConflictPolicy, NestedPolicy, RowState, Wire
from sync.versioning import changed_fields, combine, overtaken_fields, stamp, whole_lists

MERGES = Rules(
    merges={spec.name: spec.merge for spec in ranked_collections()["inspections"].nested}
).merges


def children(**values: str) -> list[Wire]:
    return [{"id": key, "item_code": key, "value": v, "note": ""} for key, v in values.items()]


def row(version: int = 5, **field_versions: int) -> RowState:
    named = {name.replace("__", "."): version for name, version in field_versions.items()}
    data = {"status": "draft", "answers": children(a="1", b="1")}
    return RowState(version=version, field_versions=named, data=data)


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        ([], {"a": "1", "b": "1"}),
        ([{"id": "a", "value": "2"}], {"a": "2", "b": "1"}),
        ([{"id": "a", "deleted": True}], {"b": "1"}),
        ([{"id": "x", "deleted": True}], {"a": "1", "b": "1"}),
        ([{"id": "c", "item_code": "c", "value": "3"}], {"a": "1", "b": "1", "c": "3"}),
    ],
)
def test_edits_by_id(edits: list[Wire], expected: dict[str, str]) -> None:
    """The list comes out whole and in its order."""
    whole = whole_lists({"answers": edits}, row(), MERGES)

    assert isinstance(whole, dict)
    assert {c["id"]: c["value"] for c in whole["answers"]} == expected


@pytest.mark.parametrize(
    ("field_versions", "base", "expected"),
    [
        ({},                               5, set()),
        ({"status": 5},                    5, set()),
        ({"status": 5},                    4, {"status"}),
        ({"answers__a": 3, "status": 5},   3, {"status"}),
        ({"answers__a": 4},                3, {"answers.a"}),
        ({"answers__gone": 4},             3, {"answers.gone"}),
        ({},                               0, {"status", "answers.a", "answers.b"}),
        ({"status": 5},                 None, set()),
    ],
)  # fmt: skip
def test_what_was_changed_since_a_version(
    field_versions: dict[str, int], base: int | None, expected: set[str]
) -> None:
    """Children one by one; those that are gone are remembered."""
    assert overtaken_fields(row(**field_versions), base, MERGES) == expected


def test_children_that_differ_count_one_by_one() -> None:
    """Added, edited and removed ones."""
    after: dict[str, Any] = {"status": "draft", "answers": children(b="2", c="1")}

    assert changed_fields(row(), after, MERGES) == {"answers.a", "answers.b", "answers.c"}
    assert stamp(row(), frozenset({"answers.a"})) == {"answers.a": 6}


@pytest.mark.parametrize(
    ("policy", "overtaken", "overlap", "is_kept"),
    [
        (ConflictPolicy.REJECT,       {"answers.a"}, set(),         False),
        (ConflictPolicy.MERGE_FIELDS, {"answers.a"}, set(),         True),
        (ConflictPolicy.MERGE_FIELDS, {"answers.a"}, {"answers.a"}, False),
        (ConflictPolicy.REJECT,       set(),         set(),         True),
    ],
)  # fmt: skip
def test_two_people_who_edit_different_children(
    policy: ConflictPolicy, overtaken: set[str], overlap: set[str], is_kept: bool
) -> None:
    """Where fields merge, children do; the same child is a conflict."""
    edit = {"answers": children(a="2", b="1")}

    merged = combine(policy, row(), edit, frozenset(overtaken), frozenset(overlap))

    assert merged == ({**row().data, **edit} if is_kept else None)


def test_child_that_stays_as_it_is_does_not_count() -> None:
    """Else two people who edit different children would always be in conflict."""
    after: dict[str, Any] = {"answers": children(a="1", b="2")}

    assert changed_fields(row(), after, MERGES) == {"answers.b"}


def test_edit_is_left_as_it_was_sent() -> None:
    """A batch is decided again when a group falls: by then a whole list would pass for edits."""
    edit: Wire = {"answers": [{"id": "a", "value": "2"}]}

    whole_lists(edit, row(), MERGES)

    assert edit == {"answers": [{"id": "a", "value": "2"}]}


def test_policy_that_writes_into_what_it_is_given_spoils_nothing() -> None:
    """What it refuses must not show as the row's current state, nor in the next try."""
    before, edit = row(), {"status": "done"}

    def careless(current: Wire, new: Wire, overlap: frozenset[str]) -> Wire | None:
        del overlap
        current["status"] = new["status"] = "spoilt"
        return None

    merged = combine(careless, before, edit, frozenset({"status"}), frozenset())

    assert (merged, before, edit) == (None, row(), {"status": "done"})


def test_a_list_is_full_only_beyond_its_limit() -> None:
    """What is removed makes room for what is added."""
    (spec,) = ranked_collections()["inspections"].nested
    short = dataclasses.replace(spec, rows_max=2)
    new = {"id": "c", "item_code": "c"}

    full = short.merge(children(a="1", b="1"), [new])
    fits = short.merge(children(a="1", b="1"), [new, {"id": "a", "deleted": True}])

    assert isinstance(full, tuple)
    assert [(error.path, error.code) for error in full] == [("answers", "max_length")]
    assert isinstance(fits, list)
    assert [child["id"] for child in fits] == ["b", "c"]


def test_child_with_a_field_called_deleted_cannot_be_merged() -> None:
    """It could not be told from a removal."""
    (spec,) = ranked_collections()["inspections"].nested
    clash = dataclasses.replace(spec.fields[0], name="deleted")

    with pytest.raises(ImproperlyConfigured, match="deleted"):
        check_removable(spec.model, (clash,), NestedPolicy.MERGE_BY_ID)
    check_removable(spec.model, (clash,), NestedPolicy.REPLACE)
