"""The SDK against the server, over real HTTP: what a field worker would notice."""

from __future__ import annotations

import datetime as dt
import random
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from rest_framework_simplejwt.tokens import AccessToken

import fieldsync
from backend.accounts.models import Device, Membership, Tenant
from backend.fieldwork.models import Note, WorkOrder
from sync.ids import uuid7
from sync.testing.faulty_link import Fault, faulty_link
from tests.e2e.conftest import Make

# The live server of Django's tests is no ASGI server: it collects a stream, and complains.
pytestmark = pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume:Warning")

SNAPPY = fieldsync.RetryPolicy(
    attempts_max=6, wait_s_max=20, backoff_first_s=0.01, backoff_s_max=0.1
)


def replica(client: fieldsync.Client) -> dict[tuple[str, str], tuple[int | None, dict[str, Any]]]:
    names = ("territories", "sites", "assets", "work_orders", "inspections", "notes", "parts_used")
    return {
        (name, row.id): (row.version, row.data)
        for name in names
        for row in client.collection(name).all()
    }


def some_site(client: fieldsync.Client) -> str:
    return client.collection("sites").all()[0].id


def test_two_phones_of_one_person_end_up_equal(phone: Make) -> None:
    """Made on one, edited on the other, seen on both, with what the server gave."""
    one, two = phone("tess"), phone("tess")
    one.sync()
    order = one.collection("work_orders").create(
        {"kind": "repair", "site": some_site(one), "title": "Pump", "tasks": []}
    )
    one.collection("notes").create({"work_order": order, "text": "rust"})
    one.sync()
    two.sync()
    two.collection("work_orders").update(order, {"priority": 1})
    two.sync()
    one.sync()

    assert replica(one) == replica(two)
    row = one.collection("work_orders").get(order)
    assert row is not None
    assert (row.version, row.data["priority"], row.data["number"][:3]) == (2, 1, "WO-")
    assert one.status().acked_unseen == two.status().acked_unseen == 0


def test_lost_answer_is_not_work_done_twice(phone: Make, live_server: Any) -> None:
    """The server had committed; the phone tries again with the same key and gets the same answer."""
    with faulty_link(live_server.url, rng=random.Random(1)) as link:
        tess = phone("tess", url=link.url, retry=SNAPPY)
        tess.sync()
        before = WorkOrder.objects.count()
        tess.collection("work_orders").create(
            {"kind": "repair", "site": some_site(tess), "title": "Pump"}
        )
        link.force(Fault.ANSWER_LOST, Fault.DOUBLED, Fault.CUT_BEFORE, Fault.ANSWER_TRUNCATED)

        report = tess.sync()

    assert WorkOrder.objects.count() == before + 1
    assert (report.replays, report.outcomes["created"]) == (1, 1)
    assert tess.status().pending == tess.status().sent == 0


def test_conflict_becomes_an_issue_that_can_be_resolved(phone: Make) -> None:
    """Both changed the title: the second is asked, and nothing is overwritten meanwhile."""
    tess, tom = phone("tess"), phone("tom")
    tess.sync()
    tom.sync()
    common = set(replica(tess)) & set(replica(tom))
    order = sorted(i for name, i in common if name == "work_orders")[0]
    tess.collection("work_orders").update(order, {"title": "hers"})
    tom.collection("work_orders").update(order, {"title": "his", "priority": 1})
    tess.sync()
    tom.sync()

    (issue,) = tom.issues()
    assert (issue.outcome, issue.fields) == ("conflict", ["title"])
    assert WorkOrder.objects.get(pk=order).title == "hers"

    issue.resolve(keep="mine")
    tom.sync()
    tess.sync()
    assert tom.issues() == []
    assert replica(tess)["work_orders", order] == replica(tom)["work_orders", order]
    assert WorkOrder.objects.get(pk=order).title == "his"


def test_parked_work_is_an_issue_that_says_who_decides(phone: Make) -> None:
    """The person reads that it is not lost, and need not send it again."""
    Tenant.objects.update(has_quarantine=True)
    tess = phone("tess")
    tess.sync()
    tess.collection("work_orders").create(
        {"kind": "repair", "site": some_site(tess), "title": "x" * 9_999}
    )

    report = tess.sync()

    (issue,) = tess.issues()
    assert issue.is_parked
    assert issue.errors[0]["code"] == "max_length"
    assert issue.detail == (
        "Some fields are not valid. The server keeps it for a supervisor to decide."
    )
    assert dict(report.outcomes) == {"quarantined": 1}


def test_group_that_the_server_refuses_is_one_visit_of_issues(phone: Make) -> None:
    """Nothing of the visit is on the server, all of it is on the phone's list."""
    tess = phone("tess")
    tess.sync()
    with tess.group("visit-17"):
        order = tess.collection("work_orders").create(
            {"kind": "repair", "site": some_site(tess), "title": "x" * 9_999}
        )
        tess.collection("notes").create({"work_order": order, "text": "rust"})
    other = tess.collection("work_orders").create(
        {"kind": "repair", "site": some_site(tess), "title": "ok"}
    )

    report = tess.sync()

    assert {issue.outcome for issue in tess.issues()} == {"invalid", "dependency_failed"}
    assert report.outcomes["created"] == 1
    assert not Note.objects.filter(work_order_id=UUID(order)).exists()
    assert WorkOrder.objects.filter(pk=other).exists()


def test_expired_token_is_refreshed_without_losing_work(
    phone: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two weeks offline: the first request after it is a 401."""
    with monkeypatch.context() as patch:
        patch.setattr(AccessToken, "lifetime", dt.timedelta(seconds=-60))
        tess = phone("tess")
    tess.sync()
    tess.collection("work_orders").create(
        {"kind": "repair", "site": some_site(tess), "title": "Pump"}
    )
    assert tess.sync().outcomes["created"] == 1


def test_new_territory_brings_its_rows_and_keeps_the_outbox(phone: Make) -> None:
    """The office gives tess another territory while she has unsent work."""
    tess, tom = phone("tess"), phone("tom")
    tess.sync()
    tom.sync()
    hers, his = replica(tess), replica(tom)
    gained = [key for key in his if key not in hers and key[0] == "sites"]
    assert gained
    tess.collection("work_orders").create(
        {"kind": "repair", "site": some_site(tess), "title": "unsent"}
    )
    mine = Membership.objects.get(user__username="tess")
    mine.territories = [
        *mine.territories,
        *Membership.objects.get(user__username="tom").territories,
    ]
    mine.save()

    report = tess.sync()

    assert report.outcomes["created"] == 1
    assert set(gained) <= set(replica(tess))


def test_revoked_device_is_out_and_keeps_its_outbox(phone: Make) -> None:
    """A stolen phone gets nothing more; what was written on it is not thrown away by us."""
    tess = phone("tess")
    tess.sync()
    tess.collection("work_orders").create(
        {"kind": "repair", "site": some_site(tess), "title": "unsent"}
    )
    from sync.clock import utc_now

    Device.objects.update(revoked_at=utc_now())

    try:
        tess.sync()
    except fieldsync.AuthRequired:
        pass
    else:
        raise AssertionError("a revoked device was served")
    assert tess.status().pending + tess.status().sent == 1


def test_a_list_that_the_server_merges_is_given_whole(phone: Make) -> None:
    """Edits made offline fold into one list; a child that is marked goes, one left out stays."""
    tess = phone("tess")
    tess.sync()
    asset = tess.collection("assets").all()[0].id
    answers = [{"id": str(uuid7()), "item_code": code, "value": "ok"} for code in "abc"]
    forms = tess.collection("inspections")
    form = forms.create({"asset": asset, "template_code": "T", "answers": answers})
    tess.sync()

    forms.update(form, {"answers": [{**answers[0], "value": "leaks"}, *answers[1:]]})
    forms.update(
        form,
        {"answers": [{**answers[0], "value": "leaks"}, {"id": answers[1]["id"], "deleted": True}]},
    )
    tess.sync()

    row = forms.get(form)
    assert row is not None
    assert {a["item_code"]: a["value"] for a in row.data["answers"]} == {"a": "leaks", "c": "ok"}


def test_app_that_is_too_old_sends_its_work_and_is_told(phone: Make, tmp_path: Path) -> None:
    """Whatever was done before the update is on the server; the updated app goes on."""
    tess = phone("tess", app_version="1.9", store="one")
    tess.sync()
    Tenant.objects.update(min_app_version="1.10")
    tess.collection("work_orders").create(
        {"kind": "repair", "site": some_site(tess), "title": "Before the update", "tasks": []}
    )

    with pytest.raises(fieldsync.UpgradeRequired) as told:
        tess.sync()

    assert told.value.code == "app_version_too_old"
    assert WorkOrder.objects.filter(title="Before the update").exists()
    assert tess.status().pending == 0
    tess.close()
    updated = fieldsync.Client(tess.url, store=tmp_path / "one.db", app_version="1.10")
    try:
        updated.sync()
        assert updated.status().acked_unseen == 0
    finally:
        updated.close()
