"""What was made offline level upon level: it arrives in any order, and falls as one line."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from backend.fieldwork.models import Asset, Note, Site, Territory, WorkOrder
from tests.phones import Phone, World, create, new_id, update
from tests.scenarios.reading import outcomes

LEVELS_MAX = 5  # of territories


def line_of(world: World, **site: Any) -> list[dict[str, Any]]:
    """Return a new site, an asset at it, work on that, and a note about the work."""
    place = create("sites", name="Quay", territory=world.cardiff)
    place["data"] |= site
    asset = create("assets", site=place["id"], tag="p1", category="pump")
    order = create("work_orders", **world.order(site=place["id"], asset=asset["id"]))
    note = create("notes", work_order=order["id"], text="rust")
    return [place, asset, order, note]


def tree_of(levels: int, **root: Any) -> list[dict[str, Any]]:
    """Return a territory below a territory below a territory, root first."""
    ids = [new_id() for _ in range(levels)]
    tree = [
        create("territories", row_id, name=f"level {n}", parent=ids[n - 1] if n else None)
        for n, row_id in enumerate(ids)
    ]
    tree[0]["data"] |= root
    return tree


def blocked_by(results: list[dict[str, Any]], row: dict[str, Any]) -> Any:
    """Return the id and the place of what the row waited for in vain."""
    (line,) = [line for line in results if line["id"] == row["id"]]
    assert line["outcome"] == "dependency_failed"
    assert line["detail"]
    return line["blocked_by"]["id"], line["blocked_by"]["index"]


@pytest.mark.parametrize("policy", ["per_row", "all_or_nothing"])
def test_site_asset_work_order_and_note_made_offline_arrive_in_any_order(
    policy: str, dora: Phone, wales: World
) -> None:
    """The server sorts by who names whom; the phone need not know of it."""
    for places in itertools.permutations(range(4)):
        line = line_of(wales)

        results = dora.push(*(line[n] for n in places), policy=policy)

        assert outcomes(results) == ["created"] * 4, places
    assert Note.objects.filter(work_order__asset__site__name="Quay").count() == 24


def test_whole_line_reaches_the_other_phones_parents_first(
    alice: Phone, dora: Phone, wales: World
) -> None:
    """Sent note first, it comes as site, asset, work order, note: an app can apply it as it comes."""
    line = line_of(wales)
    alice.pull()

    dora.push(*reversed(line))

    assert [change["id"] for change in alice.pull()] == [mutation["id"] for mutation in line]


def test_tree_of_territories_arrives_in_any_order(dora: Phone, wales: World) -> None:
    """Five levels that name each other within one collection, in all 120 orders."""
    for places in itertools.permutations(range(LEVELS_MAX)):
        tree = tree_of(LEVELS_MAX)

        results = dora.push(*(tree[n] for n in places))

        assert outcomes(results) == ["created"] * LEVELS_MAX, places
        path = "/" + "".join(f"{each['id']}/" for each in tree)
        assert Territory.objects.get(pk=tree[-1]["id"]).path == path


def test_site_in_a_territory_that_is_as_new(dora: Phone, wales: World) -> None:
    """The line goes on below the deepest territory, through four more collections."""
    tree = tree_of(LEVELS_MAX)
    line = line_of(wales, territory=tree[-1]["id"])

    results = dora.push(*reversed(tree + line))

    assert outcomes(results) == ["created"] * 9
    dora.cursor = None  # she holds one territory more than before
    dora.pull()
    assert ("notes", line[-1]["id"]) in dora.rows


def test_whole_line_below_a_refused_site_falls(dora: Phone, wales: World) -> None:
    """Each says whom it waited for, and where in the push that is; the line beside it goes on."""
    bad, good = line_of(wales, name=""), line_of(wales)
    site, asset, order, note = bad

    results = dora.push(note, order, asset, site, *reversed(good))

    assert outcomes(results) == ["dependency_failed"] * 3 + ["invalid"] + ["created"] * 4
    assert {line["code"] for line in results[:3]} == {"parent_refused"}
    assert blocked_by(results, asset) == (site["id"], 3)
    assert blocked_by(results, order) == (site["id"], 3)
    assert blocked_by(results, note) == (order["id"], 1)
    for model, row in ((Site, site), (Asset, asset), (WorkOrder, order), (Note, note)):
        assert not model._default_manager.filter(pk=row["id"]).exists()


def test_whole_line_below_a_missing_site_falls(dora: Phone, wales: World) -> None:
    """The missing one is not in the push; those below name one that is."""
    missing, asset, order, note = line_of(wales)

    results = dora.push(note, order, asset)

    assert outcomes(results) == ["dependency_failed"] * 3
    assert [line["code"] for line in results] == [
        "parent_refused", "parent_missing", "parent_missing",
    ]  # fmt: skip
    assert blocked_by(results, asset) == (missing["id"], None)
    assert blocked_by(results, order) == (missing["id"], None)
    assert blocked_by(results, note) == (order["id"], 1)


def test_what_hangs_below_a_row_that_only_the_database_refuses_falls(
    dora: Phone, wales: World
) -> None:
    """A sixth level is a check of the table, found after the plan: the reasons are the same."""
    tree = tree_of(LEVELS_MAX + 1)
    site, asset, order, note = line_of(wales, territory=tree[-1]["id"])

    results = dora.push(*reversed(tree), note, order, asset, site)

    assert outcomes(results) == (
        ["invalid"] + ["created"] * LEVELS_MAX + ["dependency_failed"] * 4
    )
    assert blocked_by(results, site) == (tree[-1]["id"], 0)
    assert blocked_by(results, asset) == (site["id"], 9)
    assert blocked_by(results, order) == (site["id"], 9)
    assert blocked_by(results, note) == (order["id"], 7)


def test_edit_that_names_a_row_which_only_the_database_refuses_falls(
    dora: Phone, wales: World
) -> None:
    """Not only new rows: a site that was to move into the refused territory stays where it is."""
    tree = tree_of(LEVELS_MAX + 1)
    move = update("sites", wales.site, 1, territory=tree[-1]["id"])

    results = dora.push(move, *tree)

    assert outcomes(results) == ["dependency_failed"] + ["created"] * LEVELS_MAX + ["invalid"]
    assert blocked_by(results, move) == (tree[-1]["id"], LEVELS_MAX + 1)
    assert str(Site.objects.get(pk=wales.site).territory_id) == wales.cardiff


@pytest.mark.parametrize(
    ("root", "outcome"), [({"name": ""}, "invalid"), ({"parent": new_id()}, "invalid")]
)
def test_whole_tree_below_a_refused_territory_falls(
    root: dict[str, Any], outcome: str, dora: Phone, wales: World
) -> None:
    """Within one collection too, each names the one right above it."""
    tree = tree_of(4, **root)

    results = dora.push(*reversed(tree))

    assert outcomes(results) == ["dependency_failed"] * 3 + [outcome]
    for above, below in itertools.pairwise(tree):
        assert blocked_by(results, below) == (above["id"], 3 - tree.index(above))
    assert not Territory.objects.filter(pk__in=[each["id"] for each in tree]).exists()


def test_line_that_fell_goes_through_once_its_head_is_mended(dora: Phone, wales: World) -> None:
    """Refused is not forgotten: the same rows under a new key, with the site put right."""
    line = line_of(wales, name="")
    dora.push(*reversed(line))
    line[0]["data"]["name"] = "Quay"

    assert outcomes(dora.push(*reversed(line))) == ["created"] * 4
