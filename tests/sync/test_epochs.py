"""Epochs: after a restore no device goes on from a history that is not there any more."""

from __future__ import annotations

import io
import json
import logging
from typing import Any
from uuid import UUID

import pytest
from django.core.checks import Error, run_checks
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from sync import checks, epochs
from sync.ids import uuid7
from sync.models import ChangeRow, Entry, Stream
from tests.phones import PULL, Phone, World, create
from tests.sync.aging import stream
from tests.sync.agreement import findings_of

pytestmark = pytest.mark.usefixtures("db")


def run(*arguments: str) -> tuple[str, str]:
    """Return what was printed to each stream."""
    out, err = io.StringIO(), io.StringIO()
    call_command("sync_new_epoch", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def pulled(phone: Phone) -> tuple[int, str | None]:
    """Return the status and the code of the phone's next pull."""
    answer = phone.send("GET", f"{PULL}?cursor={phone.cursor}")
    return answer.status_code, answer.json().get("code")


def lose_history(world: World, seqs: int) -> None:
    """Set the head back, as far as it is read by a pull: the last changes were never made."""
    head = stream(world.tenant.pk).head
    ChangeRow.objects.filter(tenant_id=world.tenant.pk, seq__gt=head - seqs).delete()
    Entry.objects.filter(tenant_id=world.tenant.pk, seq__gt=head - seqs).delete()
    Stream.objects.filter(tenant_id=world.tenant.pk).update(head=head - seqs)


# --- the command ---------------------------------------------------------------------------------


def test_new_epoch_sends_every_device_of_the_tenant_back(
    phone: Phone, wales: World, northwind: World
) -> None:
    """And nobody else's."""
    nina = northwind.hire()
    nina.pull()
    before = stream(wales.tenant.pk)

    out, _ = run("--tenant", str(wales.tenant.pk), "--yes")

    after = stream(wales.tenant.pk)
    assert after.epoch != before.epoch
    assert (after.head, after.floor) == (before.head, before.floor)
    assert f"{wales.tenant.pk}: epoch {after.epoch}, head {after.head}, floor 0" in out
    assert "410 epoch_changed" in out
    assert pulled(phone) == (410, "epoch_changed")
    assert pulled(nina) == (200, None)

    phone.cursor = None
    assert len(phone.pull()) > 0


def test_head_is_put_behind_what_is_there(phone: Phone, wales: World) -> None:
    """A stream that was restored alone must not give numbers a second time."""
    phone.push(create("work_orders", **wales.order()))
    head = stream(wales.tenant.pk).head
    Stream.objects.update(head=1)

    run("--tenant", str(wales.tenant.pk), "--yes")

    assert stream(wales.tenant.pk).head == head
    phone.push(create("work_orders", **wales.order()))
    assert findings_of(wales) == []


def test_head_is_put_behind_exits_too(phone: Phone, wales: World) -> None:
    """Only entries have their numbers."""
    head = stream(wales.tenant.pk).head
    Entry.objects.filter(seq=head).update(seq=head + 7)

    assert epochs.start_epoch(wales.tenant.pk).head == head + 7


def test_stream_that_is_missing_is_opened(phone: Phone, wales: World) -> None:
    """At the end of what the feed has."""
    head = stream(wales.tenant.pk).head
    Stream.objects.all().delete()

    run("--all", "--yes")

    assert stream(wales.tenant.pk).head == head
    assert findings_of(wales) == []


def test_floor_stays(phone: Phone, wales: World) -> None:
    """What was pruned before the backup is missing after it."""
    Stream.objects.update(floor=2)

    assert epochs.start_epoch(wales.tenant.pk).floor == 2


def test_all_tenants_at_once_as_json(wales: World, northwind: World) -> None:
    """A database is restored as a whole."""
    report: list[dict[str, Any]] = json.loads(run("--all", "--yes", "--json")[0])

    assert {UUID(line["tenant"]) for line in report} == {wales.tenant.pk, northwind.tenant.pk}
    for line in report:
        after = stream(UUID(line["tenant"]))
        assert line["epoch"] == str(after.epoch)
        assert (line["head"], line["floor"]) == (after.head, after.floor)


@pytest.mark.parametrize(("answer", "is_done"), [("yes", True), ("y", False), ("", False)])
def test_whoever_sits_there_is_asked(
    wales: World, monkeypatch: pytest.MonkeyPatch, answer: str, is_done: bool
) -> None:
    """It costs every device a fresh pull."""
    before = stream(wales.tenant.pk).epoch
    terminal = io.StringIO(f"{answer}\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)

    if is_done:
        assert "1 tenants get a new epoch" in run("--all")[1]
    else:
        with pytest.raises(CommandError, match="Nothing was done"):
            run("--all")

    assert (stream(wales.tenant.pk).epoch != before) is is_done


def test_where_nobody_can_be_asked_somebody_must_have_said_yes(
    wales: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script that forgets it must not hang, nor be taken at its silence."""
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    before = stream(wales.tenant.pk).epoch

    with pytest.raises(CommandError, match="--yes"):
        run("--all")

    assert stream(wales.tenant.pk).epoch == before


def test_tenants_must_be_named(wales: World) -> None:
    """One that is nowhere is no success, and neither is none."""
    with pytest.raises(CommandError, match="nothing of a tenant"):
        run("--tenant", str(uuid7()), "--yes")
    with pytest.raises(CommandError, match="required"):
        run("--yes")


# --- when nobody thought of it -------------------------------------------------------------------


def test_cursor_ahead_of_the_head_starts_a_new_epoch(
    phone: Phone, wales: World, caplog: pytest.LogCaptureFixture
) -> None:
    """It proves the restore; so that devices are sent back also when the head has passed them."""
    early, late = wales.hire("dispatcher"), wales.hire("dispatcher")
    early.pull()
    phone.push(*(create("work_orders", **wales.order()) for _ in range(4)))
    for each in (phone, late):
        each.pull()
    ahead = stream(wales.tenant.pk).head
    lose_history(wales, 3)

    with caplog.at_level(logging.CRITICAL):
        assert pulled(phone) == (410, "epoch_changed")

    (record,) = [r for r in caplog.records if r.name == "sync.epochs"]
    for named in (wales.tenant.pk, ahead, ahead - 3, "sync_new_epoch"):
        assert str(named) in record.getMessage()
    other = wales.hire("dispatcher")
    other.push(*(create("work_orders", **wales.order()) for _ in range(9)))
    assert stream(wales.tenant.pk).head > ahead
    for each in (phone, late, early):
        assert pulled(each) == (410, "epoch_changed")
        each.cursor, each.rows = None, {}
        each.pull()
    assert phone.rows == late.rows == early.rows


def test_first_sync_from_before_the_restore_is_noticed_too(
    phone: Phone, wales: World, caplog: pytest.LogCaptureFixture
) -> None:
    """It leaves tombstones out up to the head that it began at: those of another history."""
    phone.push(*(create("work_orders", **wales.order()) for _ in range(4)))
    new = wales.hire("dispatcher")
    new.pull_page(limit=1)
    lose_history(wales, 2)

    with caplog.at_level(logging.CRITICAL):
        assert pulled(new) == (410, "epoch_changed")

    assert pulled(phone) == (410, "epoch_changed")
    assert len([r for r in caplog.records if r.name == "sync.epochs"]) == 1


def test_cursor_that_is_not_ahead_starts_nothing(phone: Phone, wales: World) -> None:
    """As it may seem to be to whoever read the head a moment too early."""
    before = stream(wales.tenant.pk)

    for epoch, seq in ((before.epoch, before.head), (uuid7(), before.head + 1)):
        epochs.note_cursor_ahead(wales.tenant.pk, epoch=epoch, seq=seq)

    assert stream(wales.tenant.pk).epoch == before.epoch


# --- the check at start --------------------------------------------------------------------------


def found() -> list[str | None]:
    """Return what the check says of the database."""
    errors = [
        each
        for each in run_checks(tags=["database"], databases=["default"])
        if isinstance(each, Error)
    ]
    assert {each.id for each in errors} <= {"sync.E003"}
    return [f"{each.msg} {each.hint}" for each in errors]


def test_head_behind_its_entries_is_an_error_at_start(
    phone: Phone, wales: World, northwind: World
) -> None:
    """A part that was restored alone is noticed before anybody writes; the remedy mends it."""
    assert found() == []
    head = stream(wales.tenant.pk).head
    Stream.objects.filter(tenant_id=wales.tenant.pk).update(head=1)

    (said,) = found()

    assert said is not None
    assert f"tenant {wales.tenant.pk} ends at 1" in said
    assert f"up to {head}" in said
    command = f"sync_new_epoch --tenant {wales.tenant.pk}"
    assert command in said
    run(*command.split()[1:], "--yes")
    assert found() == []


def test_exit_beyond_the_head_is_an_error_at_start(phone: Phone, wales: World) -> None:
    """Exits have numbers of their own."""
    head = stream(wales.tenant.pk).head
    Entry.objects.filter(seq=head).update(seq=head + 1, op="scope_exit")

    assert len(found()) == 1


def test_entries_without_a_stream_are_an_error_at_start(wales: World) -> None:
    """The next push would number from 1."""
    Stream.objects.all().delete()

    assert len(found()) == 1


def test_check_is_silent_before_the_first_migration(wales: World) -> None:
    """`migrate` runs the checks before it makes the tables."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE sync_stream RENAME TO elsewhere")

    assert found() == []


def test_check_says_nothing_of_a_database_that_is_not_asked_about() -> None:
    """`check` without --database connects nowhere."""
    assert checks.check_heads() == []
    assert checks.check_heads(databases=["other"]) == []


def test_check_reads_the_newest_entry_of_each_scope_alone(phone: Phone, wales: World) -> None:
    """It runs at every `migrate`, however large the feed is."""
    phone.push(*(create("work_orders", **wales.order()) for _ in range(800)))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE sync_entry")
    with CaptureQueriesContext(connection) as queries:
        epochs.list_behind()

    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {queries[0]['sql']}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "Seq Scan on sync_entry" not in plan, plan
    assert "sync_entry_feed" in plan
