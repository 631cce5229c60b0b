"""`manage.py sync_explain`: why a row is, or is not, on a device, and what to do about it."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from backend.accounts.models import Device, Membership, User
from backend.fieldwork.access import resolve_device
from sync import local_edits
from sync.clock import utc_now
from sync.models import ChangeRow, Entry
from tests.phones import Phone, World, create, new_id, update
from tests.sync.aging import let_pass, prune, stream


def report(phone: Phone, row_id: str, *arguments: str) -> dict[str, Any]:
    """Return what the command says, as JSON."""
    out = io.StringIO()
    device = str(phone.device_id)
    call_command(
        "sync_explain", "--device", device, "--row", row_id, "--json", *arguments, stdout=out
    )
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cast:
    """Tom holds Newport alone; the order is at Cardiff's site, and has a note."""

    dora: Phone
    tom: Phone
    order: str
    note: str


@pytest.fixture
def cast(wales: World) -> Cast:
    dora, tom = wales.hire("dispatcher"), wales.hire(territories=[wales.newport])
    order = create("work_orders", **wales.order())
    note = create("notes", work_order=order["id"], text="rust")
    dora.push(order, note)
    return Cast(dora=dora, tom=tom, order=order["id"], note=note["id"])


def test_row_that_is_on_the_device(cast: Cast, wales: World) -> None:
    """With the scope that they share, where it comes from, and the pull that brings it."""
    seq = stream(wales.tenant.pk).head

    found = report(cast.dora, cast.note)

    assert found["verdict"] == (
        f"On the device once it has pulled up to seq {seq}: it holds territory:{wales.cardiff}."
    )
    assert found["row"]["scopes"] == [
        {"scope": f"territory:{wales.cardiff}", "held": True, "from": [f"sites/{wales.site}"]}
    ]
    assert (found["row"]["collection"], found["row"]["version"]) == ("notes", 1)
    cast.dora.pull()
    assert ("notes", cast.note) in cast.dora.rows


def test_row_in_scopes_that_the_device_does_not_hold(cast: Cast, wales: World) -> None:
    """With every way to change that; and it works."""
    bob = wales.hire()
    cast.dora.push(update("work_orders", cast.order, 1, assignee=str(bob.user_id)))

    found = report(cast.tom, cast.note)

    scopes = f"territory:{wales.cardiff}, user:{bob.user_id}"
    tom = User.objects.get(pk=cast.tom.user_id)
    assert found["verdict"] == f"Not on the device: it holds none of {scopes}."
    assert found["advice"] == [
        f"Give {tom}'s membership the territory {wales.canary} Cardiff ({wales.cardiff}).",
        f"Assign it, or the work order that it belongs to, to {tom}.",
    ]
    sources = {line["scope"]: line["from"] for line in found["row"]["scopes"]}
    assert sources[f"user:{bob.user_id}"] == [f"work_orders/{cast.order}"]

    Membership.objects.filter(user=tom).update(territories=[wales.cardiff])
    assert report(cast.tom, cast.note)["verdict"].startswith("On the device once")


def test_row_that_has_left(cast: Cast, wales: World) -> None:
    """A device that held it forgets it at that pull."""
    alice = wales.hire()
    cast.dora.push(update("sites", wales.site, 1, territory=wales.newport))
    exit_seq = Entry.objects.get(op="scope_exit", row_id=cast.note).seq

    found = report(alice, cast.note)

    assert found["verdict"] == (
        f"Not on the device once it has pulled up to seq {exit_seq}: "
        f"it holds none of territory:{wales.newport}."
    )
    assert found["row"]["left"] == [
        {"scope": f"territory:{wales.cardiff}", "held": True, "seq": exit_seq}
    ]
    stranger = report(wales.hire(territories=[]), cast.note)
    assert stranger["verdict"].startswith("Not on the device: it holds none of")
    assert [line["held"] for line in stranger["row"]["left"]] == [False]


def test_row_that_was_deleted_and_then_pruned(cast: Cast, wales: World) -> None:
    """As long as the feed tells of it, it is known; then it never was."""
    local_edits.apply(wales.tenant.pk, [local_edits.delete("notes", cast.note)])
    seq = stream(wales.tenant.pk).head

    told, untold = report(cast.dora, cast.note), report(cast.tom, cast.note)

    expected = f"Not on the device once it has pulled up to seq {seq}: the row was deleted."
    assert told["verdict"] == expected
    assert untold["verdict"] == "Not on the device: the row was deleted."
    assert told["row"]["standing"] == "deleted"

    let_pass(wales.tenant.pk, 91)
    prune(wales.tenant.pk)
    assert report(cast.dora, cast.note)["row"]["standing"] == "unknown"


def test_row_of_another_tenant_is_like_one_that_never_was(cast: Cast, northwind: World) -> None:
    """Nothing is said of it, not even its collection."""
    foreign = report(cast.dora, northwind.site)

    assert foreign["verdict"].startswith("There is no such row in this tenant")
    assert foreign == report(cast.dora, new_id())
    assert foreign["row"]["collection"] is None


def test_row_that_the_feed_does_not_have(cast: Cast) -> None:
    """What SQL by hand leaves behind is for sync_check."""
    ChangeRow.objects.filter(row_id=cast.note).delete()

    found = report(cast.dora, cast.note)

    assert found["row"]["standing"] == "unlogged"
    assert "sync_check" in found["advice"][0]


def test_row_in_no_scope(cast: Cast) -> None:
    """Nobody is told of it."""
    ChangeRow.objects.filter(row_id=cast.note).update(scopes=[])

    assert "in no scope" in report(cast.dora, cast.note)["verdict"]


REFUSED: dict[str, Callable[[Phone], object]] = {
    "device_revoked": lambda phone: Device.objects.filter(pk=phone.device_id).update(revoked_at=utc_now()),
    "user_inactive": lambda phone: User.objects.filter(pk=phone.user_id).update(is_active=False),
    "membership_inactive": lambda phone: Membership.objects.filter(user_id=phone.user_id).update(is_active=False),
}  # fmt: skip


@pytest.mark.parametrize("why", REFUSED)
def test_device_that_is_refused(cast: Cast, why: str) -> None:
    """It keeps what it has, and hears of nothing: that comes first."""
    REFUSED[why](cast.dora)

    found = report(cast.dora, cast.note)

    assert found["device"]["refused"] == why
    assert found["verdict"].startswith(f"The device is refused ({why}) and hears of nothing")
    assert "let in again: On the device once it has pulled up to seq" in found["verdict"]


def test_who_is_no_member_is_to_become_one(cast: Cast, wales: World) -> None:
    """Territories are everybody's in the tenant."""
    Membership.objects.filter(user_id=cast.tom.user_id).delete()

    (advice,) = report(cast.tom, wales.cardiff)["advice"]

    assert advice == f"Make {User.objects.get(pk=cast.tom.user_id)} a member of the tenant."


def test_edit_that_waits_for_a_supervisor_is_named(cast: Cast, wales: World) -> None:
    """The phone shows an edit that nobody else has."""
    wales.tenant.has_quarantine = True
    wales.tenant.save()
    (line,) = cast.tom.push(update("notes", cast.note, 1, text="late"))
    cast.dora.push(update("notes", cast.note, 7, text="another device's"))

    (parked,) = report(cast.tom, cast.note)["parked"]

    assert (parked["id"], parked["op"]) == (line["quarantine_id"], "update")
    assert (parked["outcome"], parked["code"]) == ("not_found", "row_not_found")


def test_people_read_the_same(cast: Cast, wales: World) -> None:
    """A line for each thing that there is to know."""
    out = io.StringIO()
    device, row = str(cast.tom.device_id), cast.note.upper()

    call_command("sync_explain", "--device", device, "--row", row, stdout=out)

    lines = out.getvalue().splitlines()
    assert lines[0].startswith(f"device   {device}: user wales-")
    assert "role technician" in lines[0]
    assert f"         holds tenant, territory:{wales.newport}, user:{cast.tom.user_id}" in lines
    assert any(
        line.startswith(f"row      notes/{cast.note}: live, version 1, seq ") for line in lines
    )
    assert f"scope    territory:{wales.cardiff} (not held), from sites/{wales.site}" in lines
    assert any(line.startswith("verdict  Not on the device: it holds none of") for line in lines)


def test_id_of_several_rows_needs_the_collection(cast: Cast, wales: World) -> None:
    """Ids are unique in a collection."""
    local_edits.apply(
        wales.tenant.pk, [local_edits.create("work_orders", wales.order(), cast.note)]
    )

    with pytest.raises(CommandError, match="name one"):
        report(cast.dora, cast.note)
    found = report(cast.dora, cast.note, "--collection", "work_orders")
    assert found["row"]["collection"] == "work_orders"


@pytest.mark.parametrize("wrong", ["device", "collection", "resolver"])
def test_question_that_cannot_be_answered(cast: Cast, wrong: str, settings: Any) -> None:
    """And says why, rather than that there is nothing."""
    phone = cast.dora
    if wrong == "device":
        phone = dataclasses.replace(phone, device_id=cast.dora.user_id)
    if wrong == "resolver":
        settings.SYNC = {**settings.SYNC, "DEVICE_RESOLVER": ""}
    arguments = ("--collection", "ghosts") if wrong == "collection" else ()

    with pytest.raises(CommandError, match=r"There is no (device|collection)|DEVICE_RESOLVER"):
        report(phone, cast.note, *arguments)


def test_explaining_writes_nothing(cast: Cast) -> None:
    """It may be asked of a standby."""
    with CaptureQueriesContext(connection) as queries:
        report(cast.tom, cast.note)

    assert {q["sql"].split()[0] for q in queries} == {"SELECT"}


def test_resolver_says_what_the_device_pulls_with(cast: Cast) -> None:
    """The same actor as a request of the device would have."""
    device = resolve_device(cast.tom.device_id)

    assert device is not None
    assert device.actor.device_id == cast.tom.device_id
    assert device.facts.keys() == {
        "user", "role", "tenant", "app", "last seen", "read up to", "unsent rows",
    }  # fmt: skip
    assert resolve_device(cast.tom.user_id) is None
