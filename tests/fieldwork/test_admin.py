"""The office's pages: what is saved there reaches the phones, what is refused says why."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from backend.accounts.models import User
from backend.fieldwork import models
from backend.fieldwork.models import Note, Site, Territory, WorkOrder
from sync import local_edits
from sync.models import ParkedMutation
from tests.desk import turn_on
from tests.fieldwork.pages import form_of, page_of, parked
from tests.phones import Phone, World, create, delete, new_id, update

PAGES = [m for m in admin.site._registry if m.__module__.startswith("backend.fieldwork")]


def errors_in(answer: Any) -> dict[str, list[str]]:
    assert answer.status_code == 200, "it was saved"
    found: dict[str, list[str]] = answer.context["adminform"].form.errors
    return found


def test_every_table_that_syncs_has_its_pages() -> None:
    names = {model.__name__ for model in PAGES}

    assert names == set(models.__all__) - {"Task", "Answer", "NumberSeries"}


@pytest.mark.parametrize("model", PAGES, ids=lambda m: m.__name__)
def test_pages_open(office: Client, wales: World, model: Any) -> None:
    name = f"admin:fieldwork_{model._meta.model_name}"

    query = {"q": "a", "tenant": str(wales.tenant.pk)}
    assert office.get(reverse(f"{name}_changelist"), query).status_code == 200
    assert office.get(reverse(f"{name}_add")).status_code == 200


def test_edit_reaches_the_phone(office: Client, wales: World, phone: Phone) -> None:
    url = page_of(Site.objects.get(pk=wales.site))

    answer = office.post(url, form_of(office, url) | {"access_notes": "Ring twice"})

    assert answer.status_code == 302
    (change,) = phone.pull()
    assert (change["id"], change["version"]) == (wales.site, 2)
    assert change["data"]["access_notes"] == "Ring twice"


def test_saving_without_a_change_tells_nobody(office: Client, wales: World, phone: Phone) -> None:
    url = page_of(Site.objects.get(pk=wales.site))

    assert office.post(url, form_of(office, url)).status_code == 302

    assert phone.pull() == []


def test_new_row_belongs_to_the_chosen_tenant(
    office: Client, wales: World, northwind: World, phone: Phone
) -> None:
    url = reverse("admin:fieldwork_workorder_add")
    data = form_of(office, url) | {
        "tenant": str(wales.tenant.pk), "kind": "repair", "site": wales.site, "title": "Pump",
        "assignee_id": str(phone.user_id),
    }  # fmt: skip

    assert office.post(url, data).status_code == 302

    (change,) = phone.pull()
    assert change["data"]["number"] == "WO-000001"
    assert change["data"]["assignee"] == str(phone.user_id)
    assert WorkOrder.objects.get().tenant_id == wales.tenant.pk


def test_reference_into_another_tenant_is_a_form_error(
    office: Client, wales: World, northwind: World
) -> None:
    """The list of sites shows all tenants'; the engine knows which are whose."""
    url = reverse("admin:fieldwork_workorder_add")
    data = form_of(office, url) | {
        "tenant": str(wales.tenant.pk), "kind": "repair", "site": northwind.site, "title": "Pump",
        "assignee_id": str(northwind.hire().user_id),
    }  # fmt: skip

    errors = errors_in(office.post(url, data))

    assert set(errors) == {"assignee_id"}
    data["assignee_id"] = ""
    assert any("site" in text for text in map(str, [errors_in(office.post(url, data))]))
    assert not WorkOrder.objects.exists()


def test_edit_does_not_undo_what_a_phone_sent_meanwhile(
    office: Client, wales: World, phone: Phone
) -> None:
    """The form still holds the old notes, and would write them back."""
    url = page_of(Site.objects.get(pk=wales.site))
    data = form_of(office, url)
    phone.push(update("sites", wales.site, 1, access_notes="Dog!"))

    errors = errors_in(office.post(url, data | {"name": "New name"}))

    assert "while the form was open" in str(errors)
    assert Site.objects.get(pk=wales.site).access_notes == "Dog!"


def test_referenced_row_is_not_deleted(office: Client, wales: World) -> None:
    url = page_of(Territory.objects.get(pk=wales.cardiff), "delete")

    answer = office.post(url, {"post": "yes"})

    assert answer.status_code in {200, 302}
    assert Territory.objects.filter(pk=wales.cardiff).exists()


def test_engine_s_refusal_to_delete_is_a_message(
    office: Client, wales: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row may be referred to between the page and its confirmation."""
    monkeypatch.setattr(admin.ModelAdmin, "get_deleted_objects", lambda *_: ([], {}, set(), []))
    row = Territory.objects.get(pk=wales.cardiff)

    one = office.post(page_of(row, "delete"), {"post": "yes"}, follow=True)
    many = office.post(
        reverse("admin:fieldwork_territory_changelist"),
        {"action": "delete_selected", "_selected_action": [str(row.pk)], "post": "yes"},
        follow=True,
    )

    for answer in (one, many):
        assert "Nothing was deleted: Other rows refer to this one" in answer.content.decode()
    assert Territory.objects.filter(pk=wales.cardiff).exists()


def test_deletion_reaches_the_phone(office: Client, wales: World, phone: Phone) -> None:
    order, other = new_id(), new_id()
    phone.push(*(create("work_orders", row_id, **wales.order()) for row_id in (order, other)))
    phone.pull()

    one = office.post(page_of(WorkOrder.objects.get(pk=order), "delete"), {"post": "yes"})
    many = office.post(
        reverse("admin:fieldwork_workorder_changelist"),
        {"action": "delete_selected", "_selected_action": [other], "post": "yes"},
    )

    assert (one.status_code, many.status_code) == (302, 302)
    assert [(c["op"], c["id"]) for c in phone.pull()] == [("delete", order), ("delete", other)]


def test_territory_moves_with_its_subtree(office: Client, wales: World, phone: Phone) -> None:
    child = new_id()
    local_edits.apply(
        wales.tenant.pk,
        [local_edits.create("territories", {"name": "Bay", "parent": wales.cardiff}, child)],
    )
    phone.pull()
    url = page_of(Territory.objects.get(pk=wales.cardiff))

    answer = office.post(url, form_of(office, url) | {"name": "City", "parent": wales.newport})

    assert answer.status_code == 302
    phone.pull()
    city = phone.row("territories", wales.cardiff)
    assert (city["name"], city["parent"]) == ("City", wales.newport)
    assert phone.row("territories", child)["path"] == f"{city['path']}{child}/"


def test_territory_below_itself_is_a_form_error(office: Client, wales: World) -> None:
    url = page_of(Territory.objects.get(pk=wales.cardiff))

    errors = errors_in(office.post(url, form_of(office, url) | {"parent": wales.cardiff}))

    assert errors == {"parent": ["A territory cannot lie below itself."]}


def test_children_are_shown_and_not_edited(office: Client, wales: World) -> None:
    order = make_order(wales, "Isolate the supply")

    page = office.get(page_of(WorkOrder.objects.get(pk=order))).content.decode()

    assert "Isolate the supply" in page
    assert 'name="tasks-0-text"' not in page


def test_tenants_may_use_the_same_id(office: Client, wales: World, northwind: World) -> None:
    """Ids are made by phones; another tenant's must not lock the office out of a row."""
    order = make_order(wales, "Isolate the supply")
    make_order(northwind, "Of somebody else", order)
    url = reverse("admin:fieldwork_workorder_change", args=[order])

    bare = office.get(url, follow=True).content.decode()
    chosen = f"{url}?_changelist_filters=tenant%3D{wales.tenant.pk}"
    page = office.get(chosen).content.decode()
    saved = office.post(chosen, form_of(office, chosen) | {"title": "New"})

    assert "Several tenants have a row of this id" in bare
    assert "Isolate the supply" in page
    assert "Of somebody else" not in page
    assert saved.status_code == 302
    assert dict(WorkOrder.objects.values_list("tenant_id", "title")) == {
        wales.tenant.pk: "New",
        northwind.tenant.pk: northwind.order()["title"],
    }


def test_a_ticked_row_deletes_no_other_tenant_s(
    office: Client, wales: World, northwind: World
) -> None:
    """The box holds an id and no tenant, and both have a row of that id."""
    order = make_order(wales, "Isolate the supply")
    make_order(northwind, "Of somebody else", order)
    url = reverse("admin:fieldwork_workorder_changelist")
    action = {"action": "delete_selected", "_selected_action": [order], "post": "yes"}

    bare = office.post(url, action, follow=True).content.decode()
    untouched = WorkOrder.objects.count()
    office.post(f"{url}?tenant={wales.tenant.pk}", action)

    assert "Several tenants have a row of this id" in bare
    assert untouched == 2
    assert [row.tenant_id for row in WorkOrder.objects.all()] == [northwind.tenant.pk]


def test_filter_by_no_tenant_shows_no_rows(office: Client, wales: World) -> None:
    """A link that somebody cut short is no server error, and no list of everything."""
    url = reverse("admin:fieldwork_site_changelist")

    answer = office.get(url, {"tenant": "garbage"})

    assert answer.status_code == 200
    assert answer.context["cl"].result_count == 0


def make_order(world: World, task: str, row_id: str | None = None) -> str:
    order = row_id or new_id()
    data = world.order(tasks=[{"id": new_id(), "text": task}])
    local_edits.apply(world.tenant.pk, [local_edits.create("work_orders", data, order)])
    return order


def test_author_of_a_note_stays(office: Client, wales: World, phone: Phone) -> None:
    order, note = new_id(), new_id()
    phone.push(
        create("work_orders", order, **wales.order()),
        create("notes", note, work_order=order, text="Mine"),
    )
    url = page_of(Note.objects.get(pk=note))

    assert office.post(url, form_of(office, url) | {"text": "Cleaned up"}).status_code == 302

    assert Note.objects.get(pk=note).author_id == phone.user_id


# --- the quarantine ---------------------------------------------------------------------------

QUARANTINE = "admin:sync_parkedmutation_changelist"


def act(office: Client, action: str, *ids: str) -> str:
    """Choose rows of the quarantine and an action, as a browser would; return the page after it."""
    form = {"action": action, "_selected_action": list(ids)}
    return office.post(reverse(QUARANTINE), form, follow=True).content.decode()


def test_quarantine_shows_what_was_sent_and_why_it_was_refused(
    office: Client, wales: World, phone: Phone
) -> None:
    """Somebody must be able to judge it without the phone at hand."""
    turn_on(wales)
    title = "<b>Pump</b> größer"
    (parked_id,) = parked(phone, create("work_orders", **wales.order(priority=9, title=title)))
    query = {"state": "open", "collection": "work_orders", "outcome": "invalid"}
    query |= {"tenant_id": str(wales.tenant.pk), "q": str(phone.user_id)}

    found = office.get(reverse(QUARANTINE), query)
    page = office.get(reverse("admin:sync_parkedmutation_change", args=[parked_id]))

    assert found.context["cl"].result_count == 1
    text = page.content.decode()
    assert "&lt;b&gt;Pump&lt;/b&gt; größer" in text
    assert "&quot;path&quot;: &quot;priority&quot;" in text
    assert 'name="_save"' not in text


def test_nothing_in_quarantine_is_edited_added_or_deleted(
    office: Client, wales: World, phone: Phone
) -> None:
    """What somebody did must not change before it is judged, nor vanish after."""
    turn_on(wales)
    (parked_id,) = parked(phone, create("work_orders", **wales.order(priority=9)))

    add = office.get(reverse("admin:sync_parkedmutation_add"))
    edit = office.post(reverse("admin:sync_parkedmutation_change", args=[parked_id]), {"op": "x"})
    end = office.post(
        reverse("admin:sync_parkedmutation_delete", args=[parked_id]), {"post": "yes"}
    )
    act(office, "delete_selected", parked_id)

    assert {add.status_code, edit.status_code, end.status_code} == {403}
    assert ParkedMutation.objects.get().op == "create"


def test_office_applies_parents_first_and_the_author_stays(
    office: Client, wales: World, phone: Phone
) -> None:
    """All of a visit at once, whatever the order in which it was sent."""
    turn_on(wales)
    site, order, note = (new_id() for _ in range(3))
    visit = [
        create("notes", note, work_order=order, text="Mine"),
        create("work_orders", order, **wales.order(site=site)),
        create("sites", site, name=f"{wales.canary} new", territory=wales.cardiff),
    ]
    ids = parked(phone, *visit)

    page = act(office, "apply", *ids)

    assert "3 settled, 0 not." in page
    phone.pull()
    assert phone.row("notes", note)["author"] == str(phone.user_id)
    root = User.objects.get(username="root")
    assert {(p.state, p.settled_by) for p in ParkedMutation.objects.all()} == {
        ("applied", root.pk)
    }


def test_office_is_told_why_something_cannot_be_applied(
    office: Client, wales: World, phone: Phone
) -> None:
    """One that is refused again stops none of the others."""
    turn_on(wales)
    order = create("work_orders", **wales.order())
    phone.push(order)
    ids = parked(
        phone,
        create("work_orders", **wales.order(priority=9)),
        delete("work_orders", order["id"], 1),
    )

    page = act(office, "apply", *ids)

    assert "1 settled, 1 not." in page
    assert "invalid: priority: " in page
    assert not WorkOrder.objects.exists()
    states = {p.op: p.state for p in ParkedMutation.objects.all()}
    assert states == {"create": "open", "delete": "applied"}


def test_office_s_rights_do_not_let_a_phone_set_what_the_server_gives(
    office: Client, wales: World, phone: Phone
) -> None:
    """The office may write authors and numbers; what it applies was written by somebody else."""
    turn_on(wales)
    order, other = create("work_orders", **wales.order()), wales.hire()
    phone.push(order)
    forged = {"work_order": order["id"], "text": "x", "author": str(other.user_id)}
    ids = parked(phone, create("notes", **forged))

    page = act(office, "apply", *ids)

    assert "The server gives this field." in page
    assert not Note.objects.exists()


def test_office_discards(office: Client, wales: World, phone: Phone) -> None:
    """Once: the second time there is nothing left to settle."""
    turn_on(wales)
    ids = parked(phone, *(create("work_orders", **wales.order(priority=9)) for _ in range(2)))

    assert "2 settled, 0 not." in act(office, "discard", *ids)
    assert "0 settled, 0 not." in act(office, "apply", *ids)

    assert {p.state for p in ParkedMutation.objects.all()} == {"discarded"}


def test_who_may_only_look_at_the_quarantine_settles_nothing(wales: World, phone: Phone) -> None:
    """A right of its own, as everywhere in the admin."""
    turn_on(wales)
    order = create("work_orders", **wales.order())
    phone.push(order)
    ids = parked(phone, delete("work_orders", order["id"], 1))
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.add(Permission.objects.get(codename="view_parkedmutation"))
    desk = Client()
    desk.force_login(clerk)

    assert desk.get(reverse(QUARANTINE)).context["cl"].result_count == 1
    act(desk, "apply", *ids)
    act(desk, "discard", *ids)

    assert ParkedMutation.objects.get().state == "open"
