"""The tree of territories: paths, moves, and how deep it may grow."""

from __future__ import annotations

import pytest

from backend.fieldwork.models import Territory
from backend.fieldwork.models.places import TREE_DEPTH_MAX
from backend.fieldwork.services import TerritoryCircle, move_territory
from sync import local_edits
from sync.errors import EditRefused
from sync.models import ChangeRow
from tests.phones import World, create, new_id


def grow(world: World, depth: int, top: str | None = None) -> list[str]:
    """Write a line of territories, each below the one before, in the wrong order; their ids."""
    ids = [new_id() for _ in range(depth)]
    creates = [
        local_edits.create("territories", {"name": f"T{n}", "parent": parent}, row_id)
        for n, (row_id, parent) in enumerate(zip(ids, [top, *ids[:-1]], strict=True))
    ]
    local_edits.apply(world.tenant.pk, reversed(creates))
    return ids


def path_of(row_id: str) -> str:
    return Territory.objects.get(pk=row_id).path


def test_paths_name_all_from_the_root_down(wales: World) -> None:
    """Whether the parent is in the same batch or was there before."""
    a, b = grow(wales, 2)
    c, d = grow(wales, 2, top=b)

    assert path_of(a) == f"/{a}/"
    assert path_of(d) == f"/{a}/{b}/{c}/{d}/"
    assert f'"path":"/{a}/{b}/"' in str(ChangeRow.objects.get(row_id=b).payload)


def test_path_is_not_the_phone_s_to_give(wales: World) -> None:
    phone = wales.hire("dispatcher")

    (result,) = phone.push(create("territories", name="A", path="/mine/"))

    assert [(e["path"], e["code"]) for e in result["errors"]] == [("path", "read_only")]


def test_tree_of_the_greatest_depth(wales: World) -> None:
    ids = grow(wales, TREE_DEPTH_MAX)

    with pytest.raises(EditRefused):
        grow(wales, 1, top=ids[-1])


def test_move_takes_the_subtree_along(wales: World) -> None:
    """Supervisors hold subtrees by path: one that kept its old path would stay with the old one."""
    a, b, c = grow(wales, 3)
    (x,) = grow(wales, 1)

    move_territory(Territory.objects.get(pk=b), Territory.objects.get(pk=x).pk)

    assert path_of(b) == f"/{x}/{b}/"
    assert path_of(c) == f"/{x}/{b}/{c}/"
    assert f'"path":"/{x}/{b}/{c}/"' in str(ChangeRow.objects.get(row_id=c).payload)
    assert path_of(a) == f"/{a}/"


def test_move_to_the_root(wales: World) -> None:
    _, b, c = grow(wales, 3)

    move_territory(Territory.objects.get(pk=b), None)

    assert (path_of(b), path_of(c)) == (f"/{b}/", f"/{b}/{c}/")


def test_move_below_itself_is_refused(wales: World) -> None:
    """The subtree would hang on nothing."""
    a, b = grow(wales, 2)

    for target in (a, b):
        with pytest.raises(TerritoryCircle):
            move_territory(Territory.objects.get(pk=a), Territory.objects.get(pk=target).pk)


def test_move_that_makes_the_tree_too_deep_is_refused(wales: World) -> None:
    """All or nothing: also for the part that would fit."""
    ids = grow(wales, TREE_DEPTH_MAX)
    (x,) = grow(wales, 1)

    with pytest.raises(EditRefused):
        move_territory(Territory.objects.get(pk=ids[0]), Territory.objects.get(pk=x).pk)
    assert path_of(ids[0]) == f"/{ids[0]}/"


def test_move_that_forgets_the_path_is_refused(wales: World) -> None:
    """The database knows that the two belong together."""
    _, b = grow(wales, 2)
    (x,) = grow(wales, 1)

    with pytest.raises(EditRefused, match="contradict"):
        local_edits.apply(wales.tenant.pk, [local_edits.update("territories", b, {"parent": x})])
