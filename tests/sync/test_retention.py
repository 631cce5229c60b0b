"""`manage.py sync_prune`: what is old goes, what a phone may still ask for stays."""

from __future__ import annotations

import datetime as dt
import io
import json
import uuid
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from sync import retention
from sync.clock import utc_now
from sync.models import Receipt, Stream
from tests.phones import Phone, World, create, delete, update
from tests.sync.agreement import findings_of

DAY = dt.timedelta(days=1)


def run(*arguments: str) -> tuple[str, str]:
    """Return what was printed to each stream."""
    out, err = io.StringIO(), io.StringIO()
    call_command("sync_prune", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def make_receipts(phone: Phone, ages_days: list[float]) -> None:
    now = utc_now()
    Receipt.objects.bulk_create(
        Receipt(
            tenant_id=phone.tenant_id, holder_id=phone.device_id, key=f"{age} days", status=200,
            fingerprint=b"", answer=b"{}", created_at=now - age * DAY,
        )
        for age in ages_days
    )  # fmt: skip


def kept() -> set[str]:
    return set(Receipt.objects.values_list("key", flat=True))


def test_receipts_are_kept_for_as_long_as_the_setting_says(phone: Phone, settings: Any) -> None:
    make_receipts(phone, [0, 29.9, 30.1, 89.9, 90.1, 400])

    out, _ = run()
    assert out.startswith("receipts: 2 deleted, older than ")
    assert kept() == {"0 days", "29.9 days", "30.1 days", "89.9 days"}

    settings.SYNC = {**settings.SYNC, "RECEIPT_DAYS": 30}
    run()
    assert kept() == {"0 days", "29.9 days"}


def test_option_overrules_the_setting(phone: Phone) -> None:
    make_receipts(phone, [1, 9, 11])

    run("--only", "receipts", "--older-than-days", "10")

    assert kept() == {"1 days", "9 days"}


def test_dry_run_counts_and_deletes_nothing(phone: Phone) -> None:
    make_receipts(phone, [1, 91, 92])

    out, err = run("--dry-run")

    assert out.startswith("receipts: 2 would be deleted")
    assert err == ""
    assert len(kept()) == 3


def test_report_as_json(phone: Phone) -> None:
    make_receipts(phone, [1, 91, 92])

    dry = json.loads(run("--dry-run", "--json")[0])
    done = json.loads(run("--json")[0])

    assert (dry["dry_run"], dry["receipts"]["rows"]) == (True, 2)
    assert (done["dry_run"], done["receipts"]["rows"]) == (False, 2)
    assert dt.datetime.fromisoformat(done["receipts"]["older_than"]) < utc_now() - 89 * DAY


def test_chunks_are_transactions_of_their_own(phone: Phone) -> None:
    """A prune that is killed has done part of its work; none holds many locks."""
    make_receipts(phone, [91 + n for n in range(7)])
    before = utc_now() - 90 * DAY
    gone = []

    for total in retention.prune(retention.find("receipts", before), chunk_rows=3):
        gone.append((total, Receipt.objects.count()))

    assert gone == [(3, 4), (6, 1), (7, 0)]


def test_progress_goes_to_the_other_stream(phone: Phone) -> None:
    make_receipts(phone, [91, 92, 93])

    out, err = run("--chunk", "2", "--json")

    assert json.loads(out)["receipts"]["rows"] == 3
    assert err.splitlines() == ["receipts: 2 of 3 …", "receipts: 3 of 3 …"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--only", "receipts", "--older-than-days", "0"],
        ["--older-than-days", "10"],
        ["--only", "rows"],
        ["--chunk", "0"],
    ],
)
def test_nonsense_is_refused(arguments: list[str], phone: Phone) -> None:
    """Zero days would take from phones what they are about to ask for; and days of what?"""
    with pytest.raises(CommandError):
        run(*arguments)


def test_setting_of_less_than_a_day_is_refused(phone: Phone, settings: Any) -> None:
    make_receipts(phone, [0.5])
    settings.SYNC = {**settings.SYNC, "RECEIPT_DAYS": 0}

    with pytest.raises(CommandError, match="1 day at least"):
        run()
    assert kept() == {"0.5 days"}


def test_pruning_finds_old_receipts_by_their_index(phone: Phone) -> None:
    """A daily prune of a day's receipts must not read the other ninety days'."""
    make_receipts(phone, [n / 10 for n in range(2_000)])
    before = utc_now() - 199 * DAY
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE sync_request")

    with CaptureQueriesContext(connection) as queries:
        list(retention.prune(retention.find("receipts", before), 10))

    (statement,) = {q["sql"] for q in queries if "DELETE FROM" in q["sql"]}
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {statement}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "Seq Scan" not in plan


# --- after the receipt is gone -------------------------------------------------------------------


def test_replay_after_the_receipt_was_pruned_changes_nothing(phone: Phone, wales: World) -> None:
    """A phone comes back after months with a push that had been carried out: same rows, no twins."""
    order, doomed = (create("work_orders", **wales.order()) for _ in range(2))
    note = create("notes", work_order=order["id"], text="rust")
    phone.push(doomed)
    body = {
        "policy": "per_row",
        "mutations": [
            order,
            note,
            update("sites", wales.site, 1, customer="c"),
            delete("work_orders", doomed["id"], 1),
        ],
    }
    key = str(uuid.uuid4())
    first = phone.push_raw(body, key)
    assert {line["outcome"] for line in first.json()["results"]} == {
        "created", "updated", "deleted",
    }  # fmt: skip
    head = Stream.objects.get(pk=wales.tenant.pk).head
    prune_all()

    again = phone.push_raw(body, key)

    assert "Idempotency-Replayed" not in again
    assert [line["outcome"] for line in again.json()["results"]] == ["unchanged"] * 4
    assert Stream.objects.get(pk=wales.tenant.pk).head == head
    assert findings_of(wales) == []


def test_replay_of_edits_that_others_overtook_is_a_conflict(phone: Phone, wales: World) -> None:
    """What was edited since is not set back by an old push."""
    order = create("work_orders", **wales.order())
    edit = update("sites", wales.site, 1, customer="old")
    body = {"policy": "per_row", "mutations": [order, edit]}
    phone.push_raw(body, "k")
    phone.push(update("sites", wales.site, 2, customer="new"))
    phone.push(update("work_orders", order["id"], 1, priority=1))
    prune_all()

    again = phone.push_raw(body, "k")

    assert [(line["outcome"], line["code"]) for line in again.json()["results"]] == [
        ("conflict", "id_taken"),
        ("conflict", "version_mismatch"),
    ]
    phone.pull()
    assert phone.row("sites", wales.site)["customer"] == "new"


def prune_all() -> None:
    """Delete every receipt, as if months had passed."""
    assert sum(1 for _ in retention.prune(retention.find("receipts", utc_now() + DAY))) > 0
    assert not Receipt.objects.exists()
