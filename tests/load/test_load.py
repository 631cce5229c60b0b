"""Crowds: profiles that can be read, a verdict that sees what is wrong, and one small crowd for real."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from django.db import connection

from backend.devstack.server import ROOT
from loadtests.load.arrival import QUARTERS, draw_arrivals, read_morning
from loadtests.load.plan import Told
from loadtests.load.profile import Arrival, Profile, ProfileInvalid, list_names, read_profile
from loadtests.load.verdict import judge
from tests.owner import direct_url
from tests.phones import World, create, new_id

RUN_S_MAX = 240


@pytest.mark.parametrize("name", list_names())
def test_profile_can_be_carried_out(name: str) -> None:
    profile = read_profile(name)

    assert profile.about
    arrivals = draw_arrivals(profile, random.Random(1))
    assert len(arrivals) == profile.devices
    assert arrivals == sorted(arrivals)
    assert 0 <= arrivals[0] <= arrivals[-1] <= profile.arrival_s
    assert profile.arrival_s < profile.time_s_max


def test_profile_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(ProfileInvalid, match="monday"):
        read_profile("tuesday")
    with pytest.raises(ProfileInvalid):
        read_profile("monday", devices=1)


def test_morning_has_its_peak_late(tmp_path: Path) -> None:
    """Calls of a file, or their known shape without it."""
    calls = tmp_path / "calls.csv"
    times = ["3/14/2025 7:05", "3/14/2025 9:50", "3/15/2025 9:55", "3/14/2025 12:00"]
    calls.write_text("Created Date\n" + "\n".join(times) + "\n")

    assert read_morning(calls) == [1, *[0] * 10, 2]
    assert read_morning(tmp_path / "none.csv") == list(QUARTERS)
    shape = Profile(name="x", about="x", devices=2_000, arrival=Arrival.MORNING, arrival_s=60)
    arrivals = draw_arrivals(shape, random.Random(1))
    assert sum(at > 30 for at in arrivals) > len(arrivals) / 2


@pytest.fixture
def told(transactional_db: None, wales_committed: World) -> Told:
    """Return what a device was told that pushed three rows."""
    tess = wales_committed.hire()
    ids = [new_id() for _ in range(3)]
    rows = [
        create("work_orders", row_id, **wales_committed.order(title=f"load {row_id}"))
        for row_id in ids
    ]
    assert {line["outcome"] for line in tess.push(*rows)} == {"created"}
    return Told(device="tess", sent=ids, acked=list(ids), statuses={"200": 1})


@pytest.fixture
def wales_committed(transactional_db: None) -> World:
    from tests.phones import make_world

    return make_world("wales")


def url() -> str:
    return direct_url() + "?options=-c%20role%3Dfieldsync_owner"


def test_good_run_has_no_faults(told: Told) -> None:
    verdict = judge([told], url())

    assert verdict.faults == {}
    assert (verdict.sent, verdict.acked) == (3, 3)


def test_row_that_is_lost_doubled_or_uncalled_is_seen(told: Told) -> None:
    """The verdict is worth what it finds."""
    lost, twice, silent = told.acked
    with psycopg.connect(url()) as session:
        session.execute("DELETE FROM work_order WHERE id = %s", [lost])
        session.execute(
            "INSERT INTO work_order SELECT (jsonb_populate_record(w, jsonb_build_object("
            "'id', gen_random_uuid(), 'number', 'twice'))).* FROM work_order w WHERE id = %s",
            [twice],
        )
    told.acked.remove(silent)
    told.statuses |= {"500": 2, "503": 3}
    told.without_retry_after = 1

    faults = judge([told], url()).faults

    assert (faults["lost"], faults["doubled"]) == (1, 1)
    assert faults["uncalled"] == 2  # the silent one, and the twin
    assert faults["server_errors"] == 2
    assert faults["without_retry_after"] == 1
    assert connection.vendor == "postgresql"


def test_small_crowd_arrives_once(tmp_path: Path) -> None:
    """Everything real: services, two processes, Locust, and pictures of it."""
    saved, picture = tmp_path / "run.json", tmp_path / "run.png"
    done = subprocess.run(  # noqa: S603  # our own
        [sys.executable, "-m", "loadtests.load", "storm", "--devices", "8", "--save", saved, "--plot", picture],
        cwd=ROOT, capture_output=True, text=True, timeout=RUN_S_MAX, check=False,
    )  # fmt: skip

    assert done.returncode == 0, (done.stdout, done.stderr)
    figures = json.loads(saved.read_text())
    assert figures["rows_pushed"] == 8 * 50
    assert figures["rows_pulled"] > figures["rows_pushed"]
    assert figures["ok"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "all rows arrived once" in done.stdout
