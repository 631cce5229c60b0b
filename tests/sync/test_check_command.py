"""`manage.py sync_check`: what it prints, and what it exits with."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from sync.findings import EXPLANATIONS, Kind
from sync.ids import uuid7
from sync.management.commands import sync_check
from tests.phones import World, create, make_world

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> tuple[str, str, str]:
    """Return what was printed to each stream, and why the command failed, if it did."""
    out, err = io.StringIO(), io.StringIO()
    reason = ""
    try:
        call_command("sync_check", *arguments, stdout=out, stderr=err)
    except CommandError as error:
        reason = str(error)
    return out.getvalue(), err.getvalue(), reason


def break_sites(world: World) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE site SET customer = 'x' WHERE tenant_id = %s", [world.tenant.pk])


def test_all_well_is_said_in_numbers(wales: World, northwind: World) -> None:
    out, err, reason = run()

    assert out == "2 tenants, 8 rows, 8 changes, 8 entries: 0 findings\n"
    assert (err, reason) == ("", "")


def test_finding_says_where_what_and_what_to_do(wales: World) -> None:
    break_sites(wales)

    out, _, reason = run()

    lines = out.splitlines()
    assert len(lines) == 5
    assert f"{wales.tenant.pk} sites/{wales.site} payload_differs: in customer" in lines
    assert f"    {EXPLANATIONS[Kind.PAYLOAD_DIFFERS].remedy}" in lines
    assert reason == "Rows and feed do not agree: 2 findings."


def test_report_as_json(wales: World) -> None:
    """For whoever watches: the same, and nothing else on that stream."""
    break_sites(wales)

    out, _, reason = run("--json", "--limit", "1")

    report: dict[str, Any] = json.loads(out)
    (listed,) = report.pop("listed")
    assert report == {"tenants": 1, "rows": 4, "changes": 4, "entries": 4, "findings": 2}
    assert listed.keys() == {"tenant", "collection", "id", "what", "detail", "remedy"}
    assert (listed["tenant"], listed["what"]) == (str(wales.tenant.pk), "payload_differs")
    assert reason


def test_long_list_is_cut_and_counted(wales: World) -> None:
    break_sites(wales)

    out, _, _ = run("--limit", "1")

    assert out.count("payload_differs") == 1
    assert "… and 1 more" in out
    assert "2 findings" in out


def test_one_tenant_is_checked_alone(wales: World, northwind: World) -> None:
    break_sites(northwind)

    assert "1 tenants, 4 rows" in run("--tenant", str(wales.tenant.pk))[0]
    assert "2 findings" in run("--tenant", str(northwind.tenant.pk))[2]


def test_tenant_that_is_nowhere_is_no_success(wales: World) -> None:
    """A slip in the id must not look like all is well."""
    assert "nothing of a tenant" in run("--tenant", str(uuid7()))[2]
    assert "invalid UUID" in run("--tenant", "wales")[2]


def test_progress_goes_to_the_other_stream(
    wales: World, northwind: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync_check, "PROGRESS_ROWS", 3)

    out, err, _ = run("--json")

    assert json.loads(out)["rows"] == 8
    assert err.splitlines() == ["4 rows …", "8 rows …"]


def test_exit_status_of_the_process(transactional_db: None) -> None:
    """0 or 1: what a nightly job goes by."""
    world = make_world("wales")
    world.hire().push(create("work_orders", **world.order()))
    parts = connection.settings_dict
    url = "postgresql://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**parts)
    command = [sys.executable, "manage.py", "sync_check"]
    environment = {**os.environ, "DATABASE_URL": url}

    def status() -> int:
        return subprocess.run(  # noqa: S603  # our own command
            command, cwd=ROOT, env=environment, check=False, timeout=120, capture_output=True
        ).returncode

    well = status()
    break_sites(world)

    assert (well, status()) == (0, 1)
