"""The office's door: every way in which Django writes a row reaches the phones, or is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.core import serializers
from django.core.management import call_command
from django.db import NotSupportedError, connection, models, transaction
from django.test.utils import CaptureQueriesContext

from backend.fieldwork.models import Asset, Site, Territory, WorkOrder
from sync import local_edits
from sync.errors import BypassesFeed, EditRefused
from sync.instances import ENGINE_FIELDS, TIMES
from sync.models import ChangeRow, Stream
from sync.synced_model import NestedModel, SyncedModel
from tests.phones import Phone, World, new_id, update
from tests.sync.agreement import findings_of
from tests.sync.office_writes import (
    BYPASSES,
    WRITES,
    Told,
    new_site,
    order_with_asset,
    site,
    sites,
    task,
    territory,
)

ROWS = 1_000
QUERIES_MAX = 12  # with BEGIN and COMMIT


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_write_reaches_the_phone(
    write: Callable[[World], Told], wales: World, northwind: World, phone: Phone
) -> None:
    """Whatever Django offers: the phone is told of these rows and no others, as they are now."""
    told = write(wales)

    changes = {change["id"]: change for change in phone.pull()}
    assert changes.keys() == told.keys()
    for row_id, fields in told.items():
        assert changes[row_id]["op"] == ("delete" if fields is None else "upsert")
        assert fields is None or changes[row_id]["data"].items() >= fields.items()
    assert findings_of(wales, northwind) == []


@pytest.mark.parametrize(("write", "names"), BYPASSES.values(), ids=BYPASSES)
def test_write_that_no_phone_would_hear_of_is_refused(
    write: Callable[[World], Any], names: str, wales: World
) -> None:
    """The message says what to write instead, and nothing was written."""
    with pytest.raises(BypassesFeed) as refused, transaction.atomic():
        write(wales)

    assert any(word in str(refused.value) for word in (" would ", " is "))
    assert names in str(refused.value)
    assert findings_of(wales) == []
    assert sites(wales).get(pk=wales.site).version == 1


@pytest.mark.parametrize("name", [*ENGINE_FIELDS, "pk"])
@pytest.mark.parametrize("way", ["update", "bulk_update", "save", "save named"])
def test_the_engine_s_fields_are_not_for_the_office(way: str, name: str, wales: World) -> None:
    """A version that jumps makes every offline edit a conflict, or lets it overwrite another."""
    row = site(wales)
    if way == "save":
        setattr(row, name, new_id())
    writes: dict[str, Callable[[], Any]] = {
        "update": lambda: sites(wales).update(**{name: row.pk}),
        "bulk_update": lambda: Site.objects.bulk_update([row], [name]),
        "save": row.save,
        "save named": lambda: row.save(update_fields=[name]),
    }

    if way == "save named" and name in TIMES:
        writes[way]()  # update_or_create() names them, and changes nothing
        return
    with pytest.raises(BypassesFeed) as refused:
        writes[way]()

    assert ENGINE_FIELDS["id" if name == "pk" else name] in str(refused.value)


def test_fixture_is_refused(wales: World, tmp_path: Path) -> None:
    """Versions from elsewhere, and no line in the feed: loaddata would write both."""
    fixture = tmp_path / "sites.json"
    fixture.write_text(serializers.serialize("json", sites(wales)))

    with pytest.raises(BypassesFeed, match="pg_dump"):
        call_command("loaddata", str(fixture), verbosity=0)


def test_managers_cannot_delete_everything(wales: World) -> None:
    """Django keeps delete() off managers, for a slip of the fingers would empty the table."""
    managers: tuple[Any, ...] = (Site.objects, Site._base_manager, territory(wales).sites)

    for manager in managers:
        with pytest.raises(AttributeError):
            manager.delete()


@pytest.mark.parametrize(
    ("narrow", "error"),
    [
        (lambda rows: rows[:1], TypeError),
        (lambda rows: rows.values("name"), TypeError),
        (lambda rows: rows.values_list("name"), TypeError),
        (lambda rows: rows.distinct("name"), TypeError),
        (lambda rows: rows.union(rows), NotSupportedError),
    ],
    ids=["sliced", "values", "values_list", "distinct on", "union"],
)
@pytest.mark.parametrize("way", ["update", "delete"])
def test_query_that_stands_for_no_rows_is_refused(
    narrow: Callable[[Any], Any], error: type[Exception], way: str, wales: World
) -> None:
    """As in Django."""
    found = narrow(sites(wales))

    with pytest.raises(error):
        found.update(customer="Late") if way == "update" else found.delete()
    assert findings_of(wales) == []


# --- declarations ------------------------------------------------------------------------------


@pytest.mark.parametrize("base", [SyncedModel, NestedModel])
def test_manager_that_would_write_past_the_feed_is_refused(base: Any) -> None:
    """At the declaration, before anything is written."""
    meta = type("Meta", (), {"app_label": "fieldwork"})
    attrs = {"__module__": __name__, "objects": models.Manager(), "Meta": meta}

    try:
        with pytest.raises(BypassesFeed, match="from_queryset"):
            type(base)("Careless", (base,), attrs)
    finally:
        forget_model("careless")


def forget_model(name: str) -> None:
    from django.apps import apps

    apps.all_models["fieldwork"].pop(name, None)
    apps.clear_cache()


# --- what was read, and what somebody else did meanwhile ----------------------------------------


def test_edit_since_the_read_is_a_conflict(wales: World, phone: Phone) -> None:
    """The office sees that the row has moved on, and nobody's edit is lost."""
    row = site(wales)
    phone.push(update("sites", wales.site, 1, customer="Phone"))
    row.customer = "Office"

    with pytest.raises(EditRefused, match="conflict"):
        row.save()
    assert site(wales).customer == "Phone"


@pytest.mark.parametrize("fields", [["version"], ["name"], ["version", "name"]])
def test_reading_a_part_again_does_not_hide_an_edit(
    fields: list[str], wales: World, phone: Phone
) -> None:
    """The rest of the instance is as old as before."""
    row = site(wales)
    phone.push(update("sites", wales.site, 1, customer="Phone"))
    row.refresh_from_db(fields=fields)
    row.customer = "Office"

    with pytest.raises(EditRefused, match="conflict"):
        row.save()


def test_deferred_field_does_not_hide_an_edit(wales: World, phone: Phone) -> None:
    """It is read later than the rest; the edit still builds on the first read."""
    row = sites(wales).only("name").get(pk=wales.site)
    phone.push(update("sites", wales.site, 1, customer="Phone"))
    assert row.customer == "Phone"
    row.customer = "Office"

    with pytest.raises(EditRefused, match="conflict"):
        row.save()


def test_what_was_not_saved_is_saved_next_time(wales: World) -> None:
    """save(update_fields=…) and bulk_update() write what they name, and forget nothing else."""
    row = site(wales)
    row.name, row.customer, row.address = f"{wales.canary} n", "c", "a"
    row.save(update_fields=["name"])
    Site.objects.bulk_update([row], ["customer"])
    row.save()

    stored = site(wales)
    assert (stored.name, stored.customer, stored.address) == (f"{wales.canary} n", "c", "a")
    assert (row.version, stored.version) == (4, 4)


def test_instance_has_what_the_server_gave(wales: World) -> None:
    """Numbers, paths, times and trimmed text: what a page shows after the save is the row."""
    asset, order = order_with_asset(wales)
    child = Territory(tenant_id=wales.tenant.pk, name="  Bay ", parent=territory(wales))
    child.save()

    for row in (asset, order, child):
        stored = type(row).objects.get(pk=row.pk)
        for field in row._meta.concrete_fields:
            assert getattr(row, field.attname) == getattr(stored, field.attname), field
    assert order.number == "WO-000001"
    assert child.name == "Bay"


def test_merged_edit_brings_the_other_one(wales: World, phone: Phone) -> None:
    """Else the instance's next save would undo it in silence."""
    order = order_with_asset(wales)[1]
    phone.push(update("work_orders", str(order.pk), 1, priority=1, title="Phone"))
    order.description, order.title = "Office", "Unsaved"
    order.save(update_fields=["description"])

    assert (order.version, order.priority) == (3, 1)
    with pytest.raises(EditRefused, match="conflict"):
        order.save()  # the title, which the phone has changed
    order.refresh_from_db()
    assert (order.title, order.description) == ("Phone", "Office")


def test_refused_bulk_write_writes_nothing(wales: World, phone: Phone) -> None:
    rows = [new_site(wales), new_site(wales, name="")]

    with pytest.raises(EditRefused, match="name"):
        Site.objects.bulk_create(rows)

    assert phone.pull() == []
    assert rows[0]._state.adding


def test_value_that_no_collection_has_is_refused(wales: World) -> None:
    """A reverse relation is no column; the children go with their parent."""
    orders: Any = WorkOrder.objects

    with pytest.raises(BypassesFeed, match=r"local_edits\.apply"):
        orders.update(tasks=[])


# --- tenants ------------------------------------------------------------------------------------


@pytest.fixture
def twins(wales: World, northwind: World) -> str:
    """Return the id that a territory and a site have in both tenants."""
    twin = new_id()
    for world in (wales, northwind):
        local_edits.apply(
            world.tenant.pk,
            [
                local_edits.create("territories", {"name": f"{world.canary} t"}, twin),
                local_edits.create(
                    "sites", {"name": f"{world.canary} s", "territory": twin}, twin
                ),
            ],
        )
    return twin


def test_rows_of_two_tenants_are_created_at_once(
    wales: World, northwind: World, phone: Phone
) -> None:
    rows = Site.objects.bulk_create([new_site(northwind), new_site(wales), new_site(northwind)])

    assert [row.version for row in rows] == [1, 1, 1]
    assert [change["id"] for change in phone.pull()] == [str(rows[1].pk)]
    assert findings_of(wales, northwind) == []


def test_refusal_in_one_tenant_undoes_the_other(
    wales: World, northwind: World, phone: Phone
) -> None:
    """One bulk_create is one transaction, however many tenants it is about."""
    for first, second in ((wales, northwind), (northwind, wales)):
        with pytest.raises(EditRefused):
            Site.objects.bulk_create([new_site(first), new_site(second, name="")])

    assert phone.pull() == []
    assert findings_of(wales, northwind) == []


def test_update_of_all_tenants(wales: World, northwind: World) -> None:
    assert Site.objects.update(customer="Late") == 4

    assert findings_of(wales, northwind) == []
    assert set(ChangeRow.objects.filter(collection="sites").values_list("version", flat=True)) == {
        2
    }


@pytest.mark.parametrize("way", ["update", "delete", "add", "set", "all", "manager", "count"])
def test_related_rows_are_of_the_same_tenant(
    way: str, twins: str, wales: World, northwind: World
) -> None:
    """Another tenant's territory has the same id, and a site in it too."""
    mine = Territory.objects.get(tenant_id=wales.tenant.pk, pk=twins).sites
    head = Stream.objects.get(pk=northwind.tenant.pk).head
    match way:
        case "update":
            assert mine.update(customer="Late") == 1
        case "delete":
            assert mine.all().delete()[0] == 1
        case "add":
            territory(wales).sites.add(mine.get())
        case "set":
            territory(wales).sites.set(mine.all())
        case "manager":
            assert mine(manager="objects").update(customer="Late") == 1
        case _:
            assert [row.tenant_id for row in mine.all()] == [wales.tenant.pk]

    assert Stream.objects.get(pk=northwind.tenant.pk).head == head
    assert findings_of(wales, northwind) == []


def test_row_is_read_again_from_its_own_tenant(twins: str, wales: World, northwind: World) -> None:
    """Also what was deferred: the other tenant's row of the same id is none of its business."""
    row = sites(wales).only("name").get(pk=twins)
    assert row.territory.tenant_id == wales.tenant.pk
    row.refresh_from_db()
    assert row.name == f"{wales.canary} s"

    sites(wales).filter(pk=twins).delete()
    with pytest.raises(Site.DoesNotExist):
        row.refresh_from_db()


def test_child_is_read_again_from_its_own_parent(wales: World) -> None:
    """Children are named within their parent."""
    first, second = task(wales), new_id()
    child = {"id": str(first.pk), "text": "Another"}
    local_edits.apply(
        wales.tenant.pk,
        [local_edits.create("work_orders", wales.order(tasks=[child]), second)],
    )

    first.refresh_from_db()

    assert first.text == "Look"


# --- cost -----------------------------------------------------------------------------------------


def cost_of(write: Callable[..., Any], *arguments: Any) -> int:
    with CaptureQueriesContext(connection) as queries:
        write(*arguments)
    return len(queries)


def costs_of(world: World, rows: list[Site]) -> dict[str, int]:
    """Return how many queries each way to write these rows at once takes."""
    found = sites(world).filter(pk__in=[row.pk for row in rows])
    costs = {
        "bulk_create": cost_of(Site.objects.bulk_create, rows),
        "update": cost_of(lambda: found.update(customer="Late")),
    }
    edited = list(found.all())
    for row in edited:
        row.address = f"{row.name} Street"
    return costs | {
        "bulk_update": cost_of(Site.objects.bulk_update, edited, ["address"]),
        "delete": cost_of(found.delete),
    }


def test_cost_of_bulk_writes_does_not_grow_with_rows(wales: World) -> None:
    """A thousand rows cost as many queries as one: a handful for the lot."""
    Site.objects.bulk_create([new_site(wales)])  # what is compiled once, is compiled

    one = costs_of(wales, [new_site(wales)])
    thousand = costs_of(wales, [new_site(wales, f"S{n}") for n in range(ROWS)])

    assert one == thousand
    assert max(one.values()) <= QUERIES_MAX
    assert ChangeRow.objects.filter(op="delete").count() == ROWS + 1
    assert findings_of(wales) == []


def test_reading_costs_one_query(wales: World) -> None:
    """What is remembered of a row is not read again, and nothing is looked up for each."""
    assert cost_of(lambda: list(Site.objects.select_related("territory"))) == 1
    assert cost_of(lambda: list(Asset.objects.only("tag"))) == 1


def test_row_that_names_the_tenant_only_by_its_reference(wales: World) -> None:
    """`territory.sites.create(name=…)`: whose it is, is plain."""
    row = Site(name="New", territory=territory(wales))

    row.save()

    assert row.tenant_id == UUID(str(wales.tenant.pk))
