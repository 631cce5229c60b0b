"""The office's pages beside the rows: conflicts, receipts, history, API keys; and lists of many rows."""

from __future__ import annotations

from typing import Any

from django.db import connection
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from backend.accounts.models import ApiKey, User
from backend.fieldwork.models import WorkOrder
from sync import local_edits
from sync.admin_lists import ROWS_COUNTED_MAX
from tests.desk import turn_on
from tests.fieldwork.pages import form_of, page_of, parked
from tests.phones import Phone, World, create, make_api_key, new_id, update

CONFLICTS = "admin:sync_conflict_changelist"


def test_conflict_shows_what_was_sent_beside_what_is_there(
    office: Client, wales: World, phone: Phone
) -> None:
    """Whoever decides needs both; an edit that is only wrong is no conflict."""
    turn_on(wales)
    row_id = new_id()
    phone.push(create("work_orders", row_id, **wales.order(title="Pump")))
    phone.push(update("work_orders", row_id, 1, title="Valve"))
    (parked_id,) = parked(phone, update("work_orders", row_id, 1, title="<i>Fan</i>"))
    parked(phone, create("work_orders", **wales.order(priority=9)))

    found = office.get(reverse(CONFLICTS))
    page = office.get(reverse("admin:sync_conflict_change", args=[parked_id])).content.decode()

    assert [str(row.pk) for row in found.context["cl"].result_list] == [parked_id]
    assert "<td>&lt;i&gt;Fan&lt;/i&gt;</td><td>Valve</td>" in page
    office.post(
        reverse(CONFLICTS), {"action": "apply", "_selected_action": [parked_id]}, follow=True
    )
    assert WorkOrder.objects.get(pk=row_id).title == "<i>Fan</i>"
    assert office.get(reverse(CONFLICTS)).context["cl"].result_count == 0
    assert office.get(reverse(CONFLICTS), {"state__exact": "applied"}).context["cl"].result_count


def test_receipt_shows_what_a_key_was_answered(office: Client, wales: World, phone: Phone) -> None:
    key = new_id()
    phone.push(create("work_orders", **wales.order()), key=key)
    phone.push(create("work_orders", **wales.order()))
    query = {"q": key, "tenant_id": str(wales.tenant.pk)}

    (receipt,) = (
        office.get(reverse("admin:sync_receipt_changelist"), query).context["cl"].result_list
    )
    page = office.get(reverse("admin:sync_receipt_change", args=[receipt.pk])).content.decode()

    assert "&quot;outcome&quot;: &quot;created&quot;" in page
    assert 'name="_save"' not in page
    assert office.post(reverse("admin:sync_receipt_delete", args=[receipt.pk])).status_code == 403
    by_device = {"q": str(phone.device_id), "tenant_id": "nonsense"}
    assert office.get(reverse("admin:sync_receipt_changelist"), by_device).status_code == 200


def test_history_tells_the_newest_change_and_what_the_office_did(
    office: Client, wales: World, phone: Phone
) -> None:
    row_id = new_id()
    phone.push(create("work_orders", row_id, **wales.order()))
    row = WorkOrder.objects.get(pk=row_id)
    name = User.objects.get(pk=phone.user_id).username

    assert (
        f"version 1, {row.updated_at:%Y-%m-%d}"
        in office.get(page_of(row, "history")).content.decode()
    )
    assert f"by {name} on" in office.get(page_of(row, "history")).content.decode()
    url = page_of(row)
    assert office.post(url, form_of(office, url) | {"title": "Valve"}).status_code == 302
    page = office.get(page_of(row, "history")).content.decode()
    assert "version 2" in page
    assert "by the office" in page
    assert "Changed Title" in page


def test_office_revokes_an_api_key_and_makes_none(office: Client, wales: World) -> None:
    text = make_api_key(wales.hire("admin"), reads=["sites"], writes=[])
    (key,) = ApiKey.objects.all()
    changelist = reverse("admin:accounts_apikey_changelist")

    assert office.get(reverse("admin:accounts_apikey_add")).status_code == 403
    page = office.get(reverse("admin:accounts_apikey_change", args=[key.pk])).content.decode()
    assert key.prefix in page
    assert bytes(key.hash).hex() not in page
    office.post(changelist, {"action": "revoke", "_selected_action": [str(key.pk)]})

    answer = phone_with_key(text).get("/api/v1/sites/")
    assert (answer.status_code, answer.json()["code"]) == (401, "api_key_revoked")


def phone_with_key(text: str) -> Any:
    client: Any = APIClient(headers={"Authorization": f"Api-Key {text}"})
    return client


def test_list_of_100000_rows_counts_no_further_than_it_shows(
    office: Client, wales: World, django_assert_max_num_queries: Any
) -> None:
    """Django would count them all, twice, and offer two thousand pages."""
    edit = local_edits.create("work_orders", wales.order(), new_id())
    local_edits.apply(wales.tenant.pk, [edit])
    names = [str(field.column) for field in WorkOrder._meta.concrete_fields]
    copied = [
        "gen_random_uuid()" if n == "id" else "'C' || n" if n == "number" else f'"{n}"'
        for n in names
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO work_order ({', '.join(names)}) "
            f"SELECT {', '.join(copied)} FROM work_order, generate_series(1, 100000) AS n"
        )
        cursor.execute("ANALYZE work_order")
    changelist = reverse("admin:fieldwork_workorder_changelist")

    for query in ({}, {"q": "C99999"}, {"tenant": str(wales.tenant.pk), "p": "3"}):
        with django_assert_max_num_queries(12):
            found = office.get(changelist, query)
        listed = found.context["cl"]
        assert listed.result_count <= ROWS_COUNTED_MAX
        assert listed.full_result_count is None
        assert len(listed.result_list) in {1, 50}
    assert office.get(changelist).context["cl"].result_count == ROWS_COUNTED_MAX
    one = WorkOrder.objects.order_by("number").first()
    with django_assert_max_num_queries(20):
        assert office.get(page_of(one)).status_code == 200
