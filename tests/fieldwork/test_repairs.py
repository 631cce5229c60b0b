"""Repair jobs: reading them, making them up, and importing them as rows."""

from __future__ import annotations

import datetime as dt
import json
import statistics
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from backend.fieldwork.demo_seed import seed_id
from backend.fieldwork.models import Asset, Site, Territory, WorkOrder
from backend.fieldwork.repairs import (
    VISIT_ITEMS_MAX,
    Job,
    NotRepairs,
    generate_jobs,
    read_jobs,
    visits,
)
from sync import local_edits
from sync.models import ChangeRow, Stream
from tests.phones import World

REAL = Path(__file__).parents[3] / "shared" / "data" / "open_repair_wales_202507.csv"
HEADER = "id,group_identifier,event_date,product_category,brand,repair_status,problem"
GOOD = [
    "r1,Cathays,2017-04-01,Iron,Unknown,Fixed,Iron broken",
    'r2,Cathays,2017-04-01,Vacuum,Dyson,Repairable,"No power,\nand a smell"',
    "r3,Penarth,2017-05-06,Vacuum,Dyson,End of life,",
    "r4,Cathays,2018-04-01,Vacuum,Dyson,Unknown,Not working",
]
BAD = [  # line, reason
    (",Cathays,2017-04-01,Iron,Bosch,Fixed,No id", "id is empty"),
    ("b1,,2017-04-01,Iron,Bosch,Fixed,No group", "group_identifier is empty"),
    ("b2,Cathays,first of April,Iron,Bosch,Fixed,No date", "isoformat"),
    ("b3,Cathays,2017-04-01,Iron,Bosch,Mended,No outcome", "repair_status is 'Mended'"),
    ("b4,Cathays", "event_date is empty"),
    ("b5,Cathays,2017-04-01,Iron," + "B" * 101 + ",Fixed,Long brand", "no more than 100"),
]


def write(folder: Path, *lines: str) -> Path:
    path = folder / "repairs.csv"
    path.write_text("\n".join([HEADER, *lines]) + "\n", encoding="utf-8-sig")
    return path


def run(path: Path, *arguments: str) -> Any:
    out = StringIO()
    call_command(
        "import_repairs", str(path), "--tenant", "wales", "--json", *arguments,
        stdout=out, stderr=StringIO(),
    )  # fmt: skip
    return json.loads(out.getvalue())


def everything() -> list[Any]:
    rows = ChangeRow.objects.order_by("collection", "row_id")
    return [*rows.values_list("row_id", "seq", "payload"), *Stream.objects.values_list("head")]


def test_jobs_become_places_things_and_work(wales: World, tmp_path: Path) -> None:
    summary = run(write(tmp_path, *GOOD))

    root = Territory.objects.get(pk=seed_id("wales", "territories", "Wales"))
    groups = Territory.objects.filter(parent=root)
    assert summary == {"jobs": 4, "created": 1 + 2 + 2 + 3 + 4, "kept": 0, "bad": []}
    assert sorted(t.name for t in groups) == ["Cathays", "Penarth"]
    assert all(t.path == f"{root.path}{t.pk}/" for t in groups)
    assert sorted(
        Asset.objects.values_list("site__name", "site__territory__name", "category", "brand")
    ) == [
        ("Cathays", "Cathays", "Iron", ""),
        ("Cathays", "Cathays", "Vacuum", "Dyson"),
        ("Penarth", "Penarth", "Vacuum", "Dyson"),
    ]
    at = dt.datetime(2017, 4, 1, 16, tzinfo=dt.UTC)
    orders = WorkOrder.objects.order_by("number")
    assert list(
        orders.values_list("title", "status", "site__name", "asset__category", "completed_at")
    ) == [
        ("Iron broken", "done", "Cathays", "Iron", at),
        ("No power,\nand a smell", "paused", "Cathays", "Vacuum", None),
        ("Vacuum: no description", "cancelled", "Penarth", "Vacuum", None),
        ("Not working", "open", "Cathays", "Vacuum", None),
    ]
    assert orders[0].due_at == at


def test_second_import_changes_nothing(wales: World, tmp_path: Path) -> None:
    path = write(tmp_path, *GOOD)
    run(path)
    before = everything()

    summary = run(path)

    assert everything() == before
    assert (summary["created"], summary["kept"]) == (0, 12)


def test_import_leaves_edited_and_deleted_rows_alone(wales: World, tmp_path: Path) -> None:
    path = write(tmp_path, *GOOD)
    run(path)
    edited, deleted = (str(seed_id("wales", "work_orders", name)) for name in ("r1", "r2"))
    local_edits.apply(
        wales.tenant.pk,
        [
            local_edits.update("work_orders", edited, {"title": "Mine"}),
            local_edits.delete("work_orders", deleted),
        ],
    )
    before = everything()

    run(path)

    assert everything() == before


def test_size_of_the_batches_does_not_matter(wales: World, tmp_path: Path) -> None:
    """Rows that later batches share are made by the first that needs them."""
    summary = run(write(tmp_path, *GOOD), "--batch", "1")

    assert (summary["created"], summary["kept"]) == (12, 0)


def test_limit_stops_early(wales: World, tmp_path: Path) -> None:
    assert run(write(tmp_path, *GOOD), "--limit", "2")["jobs"] == 2
    assert WorkOrder.objects.count() == 2


@pytest.mark.parametrize(("line", "reason"), BAD)
def test_bad_line_is_reported_and_skipped(
    wales: World, tmp_path: Path, line: str, reason: str
) -> None:
    """The line numbers are the file's; r2 stands on two lines."""
    summary = run(write(tmp_path, GOOD[0], GOOD[1], line, GOOD[2]))

    assert [bad["line"] for bad in summary["bad"]] == [5]
    assert reason in summary["bad"][0]["reason"]
    assert WorkOrder.objects.count() == 3


def test_strict_import_fails_after_the_good_lines(wales: World, tmp_path: Path) -> None:
    path = write(tmp_path, GOOD[0], BAD[0][0])

    with pytest.raises(CommandError, match="1 lines were skipped"):
        run(path, "--strict")
    assert WorkOrder.objects.count() == 1


def test_strict_import_of_a_good_file_succeeds(wales: World, tmp_path: Path) -> None:
    assert run(write(tmp_path, *GOOD), "--strict")["bad"] == []


def test_file_of_something_else_is_refused(wales: World, tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,2\n")

    with pytest.raises(CommandError, match="has no column brand"):
        run(path)
    with pytest.raises(NotRepairs):
        next(read_jobs(path))
    with pytest.raises(CommandError, match="No such file"):
        run(tmp_path / "missing.csv")


def test_unknown_tenant_is_named(northwind: World, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no tenant 'wales'; there are: northwind"):
        run(write(tmp_path, *GOOD))


def test_visits_are_jobs_of_one_group_on_one_day(tmp_path: Path) -> None:
    found = visits(read_jobs(write(tmp_path, *reversed(GOOD))))

    assert [[job.id for job in visit] for visit in found] == [["r2", "r1"], ["r3"], ["r4"]]


def test_generated_jobs_are_the_same_for_the_same_seed() -> None:
    jobs = list(generate_jobs(5_000, seed=7))

    assert jobs == list(generate_jobs(5_000, seed=7))
    assert jobs != list(generate_jobs(5_000, seed=8))
    assert len({job.id for job in jobs}) == len(jobs) == 5_000


def test_generated_visits_have_the_shape_of_real_ones() -> None:
    sizes = [len(visit) for visit in visits(generate_jobs(20_000, seed=1))]

    assert statistics.median(sizes) == 3
    assert max(sizes) == VISIT_ITEMS_MAX


real = pytest.mark.skipif(not REAL.exists(), reason="the real file is not on this machine")


@real
def test_real_file_has_the_visits_that_the_sizes_come_from() -> None:
    jobs = list(read_jobs(REAL))
    sizes = [len(visit) for visit in visits(jobs)]

    assert (len(jobs), len(sizes)) == (20_190, 3_918)
    assert (statistics.median(sizes), max(sizes)) == (3, 48)


@real
def test_real_jobs_are_imported(wales: World) -> None:
    summary = run(REAL, "--limit", "300")

    first: Job = next(islice(read_jobs(REAL), 1))
    order = WorkOrder.objects.get(pk=seed_id("wales", "work_orders", first.id))
    assert (summary["jobs"], summary["bad"]) == (300, [])
    assert WorkOrder.objects.count() == 300
    assert order.title == first.problem
    assert Site.objects.filter(pk=order.site_id, name=first.group).exists()
