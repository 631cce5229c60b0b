"""A tenant goes into an archive, is deleted, and comes back: all of it, and nothing of others."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.management import CommandError, call_command
from django.db import connection

from backend.accounts.models import Device, Membership, Role, Tenant, User
from backend.fieldwork.models import Site
from backend.tenants.removal import NotSuspended, delete_tenant
from backend.tenants.tables import PEOPLE, list_tables
from sync import audit, local_edits
from sync.models import ParkedMutation, Receipt, Stream
from sync.registry import ranked_collections
from tests.fieldwork.samples import Samples
from tests.phones import World, create, delete, make_api_key, new_id, update

TRAVELS_NOT = {
    "accounts_user": ("is_staff", "is_superuser"),
    "accounts_device": ("login_id", "refresh_key", "refresh_hash"),
    "sync_stream": ("epoch",),
}


def run(command: str, *arguments: str) -> str:
    out = io.StringIO()
    call_command(command, *arguments, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def rows_of(tenant_id: Any) -> dict[str, list[dict[str, Any]]]:
    """Return all rows of a tenant by table, but for what does not travel."""
    found = {}
    with connection.cursor() as cursor:
        for table in list_tables():
            columns = [c for c in table.columns if c not in TRAVELS_NOT.get(table.name, ())]
            names = ", ".join(f'"{name}"' for name in columns)
            cursor.execute(
                f'SELECT to_jsonb(t)::text FROM (SELECT {names} FROM "{table.name}" '
                f"WHERE {table.condition}) AS t ORDER BY 1",
                {"tenant": tenant_id},
            )
            found[table.name] = [json.loads(text) for (text,) in cursor.fetchall()]
    return found


def answers_of(world: World) -> dict[str, bytes]:
    receipts = Receipt.objects.filter(tenant_id=world.tenant.pk).values_list("key", "answer")
    return {key: bytes(answer or b"") for key, answer in receipts}


@pytest.fixture
def full(wales: World, northwind: World) -> World:
    """Return a tenant with rows in every table that may hold some."""
    samples = Samples(wales.tenant.pk)
    local_edits.apply(
        wales.tenant.pk, [samples.create(each) for each in ranked_collections().values()]
    )
    docks = new_id()
    inner = local_edits.create("territories", {"name": "Docks", "parent": wales.cardiff}, docks)
    inmost = local_edits.create("territories", {"name": "Quay", "parent": docks})
    local_edits.apply(wales.tenant.pk, [inner, inmost])
    Tenant.objects.filter(pk=wales.tenant.pk).update(has_quarantine=True)
    sam = wales.hire(Role.SUPERVISOR)
    row_id = new_id()
    sam.push(create("work_orders", row_id, **wales.order()), create("work_orders", new_id()))
    sam.push(update("work_orders", row_id, 9, title="late"), delete("work_orders", row_id, 1))
    sam.pull()
    make_api_key(wales.hire(Role.ADMIN), reads=["sites"], writes=[])
    of_site = ContentType.objects.get_for_model(Site)
    LogEntry.objects.create(user=User.objects.create(username="office", is_staff=True), content_type=of_site, object_id=wales.site, object_repr="Harbour", action_flag=CHANGE)  # fmt: skip
    return world_checked(wales)


def world_checked(world: World) -> World:
    empty = [name for name, rows in rows_of(world.tenant.pk).items() if not rows]
    assert empty == [], "a table that this test should fill"
    return world


def test_all_of_it_travels_and_nothing_else(full: World, northwind: World, tmp_path: Path) -> None:
    """Deleted and imported again, every table has the same rows; the other tenant never noticed."""
    mine, others = rows_of(full.tenant.pk), rows_of(northwind.tenant.pk)
    archive = tmp_path / "wales.tenant"
    run("tenant_suspend", "wales")
    run("tenant_export", "wales", str(archive))

    told = json.loads(run("tenant_delete", "wales", "--yes", "--json"))
    left = rows_of(full.tenant.pk)
    said = run("tenant_import", str(archive))

    assert told["rows"] == {name: len(rows) for name, rows in mine.items() if name != PEOPLE}
    assert {name: rows for name, rows in left.items() if rows} == {}
    mine["accounts_tenant"][0]["is_active"] = False
    assert rows_of(full.tenant.pk) == mine
    assert rows_of(northwind.tenant.pk) == others
    assert said.endswith("it is suspended\n")
    assert list(audit.check(full.tenant.pk, audit.Tally())) == []


def test_deleted_people_and_notes_are_gone(full: World, northwind: World) -> None:
    """A name in the admin's log is the tenant's too; who works for another tenant stays."""
    both = User.objects.create(username="both")
    for world in (full, northwind):
        Membership.objects.create(tenant=world.tenant, user=both, role=Role.ADMIN)
    members = User.objects.filter(memberships__tenant=full.tenant).exclude(pk=both.pk)
    names = set(members.values_list("username", flat=True))
    run("tenant_suspend", "wales")

    run("tenant_delete", "wales", "--yes")

    assert names - {"office"}
    assert set(User.objects.values_list("username", flat=True)) & (names | {"both"}) == {"both"}
    assert not LogEntry.objects.exists()


def test_open_tenant_is_not_deleted(full: World) -> None:
    """Its phones would go on to send; and a slip of the hand costs two commands."""
    before = rows_of(full.tenant.pk)

    with pytest.raises(CommandError, match="tenant_suspend wales"):
        run("tenant_delete", "wales", "--yes")

    assert rows_of(full.tenant.pk) == before


def test_tenant_that_was_resumed_meanwhile_is_not_deleted(full: World) -> None:
    """Somebody had second thoughts while somebody else was typing its name."""
    before = rows_of(full.tenant.pk)
    run("tenant_suspend", "wales")
    suspended = Tenant.objects.get(slug="wales")
    run("tenant_suspend", "wales", "--resume")

    with pytest.raises(NotSuspended):
        delete_tenant(suspended)

    assert rows_of(full.tenant.pk) == before


def test_nobody_to_ask_is_a_no(full: World) -> None:
    run("tenant_suspend", "wales")

    with pytest.raises(CommandError, match="say --yes"):
        run("tenant_delete", "wales")

    assert Tenant.objects.filter(slug="wales").exists()


def test_dry_run_deletes_nothing(full: World) -> None:
    before = rows_of(full.tenant.pk)

    told = json.loads(run("tenant_delete", "wales", "--dry-run", "--json"))

    assert told["rows"] == {name: len(rows) for name, rows in before.items()}
    assert rows_of(full.tenant.pk) == before


def test_suspended_tenant_gets_no_answer_until_resumed(wales: World) -> None:
    sam = wales.hire()

    run("tenant_suspend", str(wales.tenant.pk))
    while_suspended = sam.send("GET", "/api/v1/sync/pull")
    run("tenant_suspend", "wales", "--resume")

    assert while_suspended.status_code == 401
    assert while_suspended.json()["code"] == "tenant_inactive"
    assert sam.pull()


@pytest.mark.parametrize("damage", ["cut", "byte", "more", "no gzip", "other file"])
def test_damaged_archive_writes_nothing(full: World, tmp_path: Path, damage: str) -> None:
    archive = tmp_path / "wales.tenant"
    run("tenant_export", "wales", str(archive))
    run("tenant_suspend", "wales")
    run("tenant_delete", "wales", "--yes")
    raw = archive.read_bytes()
    lines = gzip.decompress(raw).splitlines(keepends=True)
    altered = b"".join(lines).replace(b"Docks", b"Socks", 1)
    damaged = {
        "cut": raw[: len(raw) // 2],
        "byte": gzip.compress(altered),
        "more": gzip.compress(b"".join([*lines, b"{}\n"])),
        "no gzip": b"".join(lines),
        "other file": gzip.compress(b'{"rows": 1}\n'),
    }[damage]
    archive.write_bytes(damaged)

    with pytest.raises(CommandError, match="Nothing was written"):
        run("tenant_import", str(archive))

    assert {name: rows for name, rows in rows_of(full.tenant.pk).items() if rows} == {}


def test_people_are_not_taken_for_their_namesakes(full: World, tmp_path: Path) -> None:
    """Another person of that user name would log in as a member of this tenant."""
    archive = tmp_path / "wales.tenant"
    run("tenant_export", "wales", str(archive))
    name = User.objects.filter(memberships__tenant=full.tenant).values_list("username", flat=True)[0]  # fmt: skip
    run("tenant_suspend", "wales")
    run("tenant_delete", "wales", "--yes")
    User.objects.create(username=name)

    with pytest.raises(CommandError, match=f"other people have these user names here: {name}"):
        run("tenant_import", str(archive))

    assert not Tenant.objects.filter(slug="wales").exists()


def test_nobody_is_logged_in_or_staff_by_an_archive(full: World, tmp_path: Path) -> None:
    archive = tmp_path / "wales.tenant"
    boss = User.objects.create(username="boss", is_superuser=True)
    Membership.objects.create(tenant=full.tenant, user=boss, role=Role.ADMIN)
    run("tenant_export", "wales", str(archive))
    run("tenant_suspend", "wales")
    run("tenant_delete", "wales", "--yes")

    run("tenant_import", str(archive), "--slug", "cymru")

    assert set(Device.objects.values_list("login_id", "refresh_hash")) == {(None, None)}
    boss.refresh_from_db()
    assert (boss.is_staff, boss.is_superuser) == (False, False)
    assert Tenant.objects.get(pk=full.tenant.pk).slug == "cymru"


def test_tenant_that_is_here_is_not_written_over(full: World, tmp_path: Path) -> None:
    archive = tmp_path / "wales.tenant"
    run("tenant_export", "wales", str(archive))

    with pytest.raises(CommandError, match="is here already"):
        run("tenant_import", str(archive))


def test_feed_has_a_new_epoch(full: World, tmp_path: Path) -> None:
    """A device that comes with a cursor of the other installation pulls afresh."""
    archive = tmp_path / "wales.tenant"
    before = Stream.objects.get(pk=full.tenant.pk)
    run("tenant_export", "wales", str(archive))
    run("tenant_suspend", "wales")
    run("tenant_delete", "wales", "--yes")

    run("tenant_import", str(archive))

    after = Stream.objects.get(pk=full.tenant.pk)
    assert after.epoch != before.epoch
    assert (after.head, after.floor) == (before.head, before.floor)


def test_receipts_and_parked_work_come_along(full: World, tmp_path: Path) -> None:
    """A phone that asks again after the move is answered as it was before it."""
    archive = tmp_path / "wales.tenant"
    keys = answers_of(full)
    parked = set(ParkedMutation.objects.filter(tenant_id=full.tenant.pk).values_list("id"))
    run("tenant_export", "wales", str(archive))
    run("tenant_suspend", "wales")
    run("tenant_delete", "wales", "--yes")

    run("tenant_import", str(archive))

    assert answers_of(full) == keys
    assert set(ParkedMutation.objects.values_list("id")) == parked
