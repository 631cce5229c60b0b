"""Every way in which Django writes a row: allowed ones, and ones that would bypass the feed.

An allowed write returns what a phone is to be told: id -> some of its fields, None for a delete. A
bypass is a call that must raise, with a word of its message that names the way.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar
from uuid import UUID

from asgiref.sync import async_to_sync
from django.core import serializers
from django.db.models import F, OuterRef, Subquery, Value
from django.db.models.deletion import Collector
from django.db.models.functions import Concat

from backend.fieldwork.models import Asset, Site, Task, Territory, WorkOrder
from sync import local_edits
from sync.ids import uuid7
from tests.phones import World, new_id

T = TypeVar("T")
Told = dict[str, dict[str, Any] | None]
WRITES: dict[str, Callable[[World], Told]] = {}
BYPASSES: dict[str, tuple[Callable[[World], Any], str]] = {}


def allowed(write: Callable[[World], Told]) -> Callable[[World], Told]:
    WRITES[write.__name__] = write
    return write


def bypass(names: str) -> Callable[[Callable[[World], Any]], Callable[[World], Any]]:
    def add(write: Callable[[World], Any]) -> Callable[[World], Any]:
        BYPASSES[write.__name__] = write, names
        return write

    return add


def wait(coroutine: Coroutine[Any, Any, T]) -> T:
    async def run() -> T:
        return await coroutine

    return async_to_sync(run)()


def site(world: World) -> Site:
    return Site.objects.get(tenant_id=world.tenant.pk, pk=world.site)


def sites(world: World) -> Any:
    return Site.objects.filter(tenant_id=world.tenant.pk)


def territory(world: World) -> Territory:
    return Territory.objects.get(tenant_id=world.tenant.pk, pk=world.cardiff)


def new_site(world: World, name: str = "New") -> Site:
    return Site(tenant_id=world.tenant.pk, name=name, territory_id=UUID(world.cardiff))


def order_with_asset(world: World) -> tuple[Asset, WorkOrder]:
    """Return an asset with a work order about it; nobody has pulled them yet."""
    asset = Asset.objects.create(
        tenant_id=world.tenant.pk, site_id=UUID(world.site), category="Pump"
    )
    order = asset.work_orders.create(site_id=UUID(world.site), kind="repair", title="Seal")
    return asset, order


def task(world: World) -> Task:
    """Return the one task of a work order."""
    data = world.order(tasks=[{"id": new_id(), "text": "Look"}])
    order = new_id()
    local_edits.apply(world.tenant.pk, [local_edits.create("work_orders", data, order)])
    return Task.objects.get(tenant_id=world.tenant.pk, work_order_id=UUID(order))


# --- instances --------------------------------------------------------------------------------


@allowed
def save_a_new_row(world: World) -> Told:
    row = new_site(world)
    row.save()
    return {str(row.pk): {"name": "New"}}


@allowed
def save_an_edit(world: World) -> Told:
    row = site(world)
    row.customer = "Late"
    row.save()
    return {world.site: {"customer": "Late"}}


@allowed
def save_without_a_change(world: World) -> Told:
    site(world).save()
    return {}


@allowed
def save_named_fields(world: World) -> Told:
    row = site(world)
    row.customer, row.address = "Late", "Unsaved"
    row.save(update_fields=["customer"])
    return {world.site: {"customer": "Late", "address": ""}}


@allowed
def save_no_named_field(world: World) -> Told:
    row = site(world)
    row.customer = "Late"
    row.save(update_fields=[])
    return {}


@allowed
def save_a_reference_by_name(world: World) -> Told:
    row = site(world)
    row.territory_id = UUID(world.newport)
    row.save(update_fields=["territory"])
    return {world.site: {"territory": world.newport}}


@allowed
def save_by_force_insert(world: World) -> Told:
    row = new_site(world)
    row.save(force_insert=True, using="default")
    return {str(row.pk): {"name": "New"}}


@allowed
def save_by_force_update(world: World) -> Told:
    row = site(world)
    row.customer = "Late"
    row.save(force_update=True)
    return {world.site: {"customer": "Late"}}


@allowed
def asave(world: World) -> Told:
    row = site(world)
    row.customer = "Late"
    wait(row.asave(update_fields=["customer"]))
    return {world.site: {"customer": "Late"}}


@allowed
def save_twice(world: World) -> Told:
    row = new_site(world)
    row.save()
    row.customer = "Late"
    row.save()
    return {str(row.pk): {"customer": "Late"}}


@allowed
def save_json_that_was_changed_in_place(world: World) -> Told:
    asset, order = order_with_asset(world)
    asset.attributes["litres"] = 30
    asset.save()
    return {str(asset.pk): {"attributes": {"litres": 30}}, str(order.pk): {}}


@allowed
def save_a_row_read_in_part(world: World) -> Told:
    row = sites(world).only("name").get(pk=world.site)
    row.customer = "Late"
    row.save()
    return {world.site: {"customer": "Late", "territory": world.cardiff}}


@allowed
def save_a_row_with_deferred_fields(world: World) -> Told:
    row = sites(world).defer("customer", "address").get(pk=world.site)
    row.name += f", {row.customer or 'nobody'}"
    row.save()
    return {world.site: {"name": f"{world.canary} A, nobody"}}


@allowed
def save_after_a_refresh(world: World) -> Told:
    row = site(world)
    sites(world).filter(pk=world.site).update(customer="Early")
    row.refresh_from_db()
    row.customer += " and late"
    row.save()
    return {world.site: {"customer": "Early and late"}}


@allowed
def save_a_pickled_row(world: World) -> Told:
    row = site(world)
    row.customer = "Late"
    thawed = pickle.loads(pickle.dumps(row))  # noqa: S301  # our own
    thawed.save()
    return {world.site: {"customer": "Late"}}


@allowed
def save_a_copied_instance(world: World) -> Told:
    row = copy.copy(site(world))
    row.customer = "Late"
    row.save()
    return {world.site: {"customer": "Late"}}


@allowed
def save_a_copy_as_django_advises(world: World) -> Told:
    row = site(world)
    row.pk, row._state.adding, row.name = None, True, "Twin"
    row.save()
    return {str(row.pk): {"name": "Twin", "territory": world.cardiff}}


@allowed
def save_a_copy_under_another_id(world: World) -> Told:
    row = copy.deepcopy(site(world))
    row.pk, row.name = uuid7(), "Twin"
    row.save(force_insert=True)
    return {str(row.pk): {"name": "Twin"}}


@allowed
def delete_an_instance(world: World) -> Told:
    assert site(world).delete() == (1, {"fieldwork.Site": 1})
    return {world.site: None}


@allowed
def adelete_an_instance(world: World) -> Told:
    wait(site(world).adelete())
    return {world.site: None}


# --- querysets --------------------------------------------------------------------------------


@allowed
def create(world: World) -> Told:
    row = Site.objects.create(tenant_id=world.tenant.pk, name="New", territory=territory(world))
    return {str(row.pk): {"name": "New", "territory": world.cardiff}}


@allowed
def acreate(world: World) -> Told:
    new = {"tenant_id": world.tenant.pk, "name": "New", "territory_id": world.cardiff}
    row = wait(Site.objects.acreate(**new))
    return {str(row.pk): {"name": "New"}}


@allowed
def get_or_create(world: World) -> Told:
    there, is_new = sites(world).get_or_create(pk=world.site, defaults={"name": "Other"})
    assert (str(there.pk), is_new) == (world.site, False)
    row, is_new = Site.objects.get_or_create(
        tenant_id=world.tenant.pk, name="New", defaults={"territory_id": world.cardiff}
    )
    assert is_new
    return {str(row.pk): {"name": "New"}}


@allowed
def update_or_create(world: World) -> Told:
    sites(world).update_or_create(pk=world.site, defaults={"customer": "Late"})
    row, is_new = Site.objects.update_or_create(
        tenant_id=world.tenant.pk, name="New", defaults={"territory": territory(world)}
    )
    assert is_new
    return {world.site: {"customer": "Late"}, str(row.pk): {"name": "New"}}


@allowed
def aupdate_or_create(world: World) -> Told:
    wait(sites(world).aupdate_or_create(pk=world.site, defaults={"customer": "Late"}))
    return {world.site: {"customer": "Late"}}


@allowed
def bulk_create(world: World) -> Told:
    rows = Site.objects.bulk_create((new_site(world, f"N{n}") for n in range(3)), batch_size=2)
    return {str(row.pk): {"name": f"N{n}"} for n, row in enumerate(rows)}


@allowed
def bulk_create_of_nothing(world: World) -> Told:
    assert Site.objects.bulk_create([]) == []
    return {}


@allowed
def abulk_create(world: World) -> Told:
    rows = wait(Site.objects.abulk_create([new_site(world)]))
    return {str(rows[0].pk): {"name": "New"}}


@allowed
def bulk_update(world: World) -> Told:
    rows = list(sites(world))
    for row in rows:
        row.customer, row.address = "Late", "Unsaved"
    assert Site.objects.bulk_update(rows, ["customer"], batch_size=1) == 2
    return {
        row_id: {"customer": "Late", "address": ""} for row_id in (world.site, world.other_site)
    }


@allowed
def abulk_update(world: World) -> Told:
    row = site(world)
    row.customer = "Late"
    wait(Site.objects.abulk_update([row], ["customer"]))
    return {world.site: {"customer": "Late"}}


@allowed
def update(world: World) -> Told:
    assert sites(world).update(customer="Late") == 2
    return {row_id: {"customer": "Late"} for row_id in (world.site, world.other_site)}


@allowed
def update_what_is_so_already(world: World) -> Told:
    assert sites(world).update(customer="") == 2
    return {}


@allowed
def update_of_nothing(world: World) -> Told:
    assert sites(world).none().update(customer="Late") == 0
    assert sites(world).filter(name="nobody").update(customer="Late") == 0
    assert sites(world).update() == 2
    return {}


@allowed
def update_a_reference_by_row(world: World) -> Told:
    sites(world).filter(pk=world.other_site).update(territory=territory(world))
    return {world.other_site: {"territory": world.cardiff}}


@allowed
def update_a_reference_by_id(world: World) -> Told:
    sites(world).filter(pk=world.other_site).update(territory_id=world.cardiff)
    return {world.other_site: {"territory": world.cardiff}}


@allowed
def update_of_locked_rows(world: World) -> Told:
    sites(world).select_for_update().filter(pk=world.site).update(customer="Late")
    return {world.site: {"customer": "Late"}}


@allowed
def update_across_a_join(world: World) -> Told:
    found = sites(world).filter(territory__name__endswith="Cardiff").select_related("territory")
    found.prefetch_related("assets").order_by("-name").update(customer="Late")
    return {world.site: {"customer": "Late"}}


@allowed
def update_across_an_outer_join(world: World) -> Told:
    order_with_asset(world)
    rows = WorkOrder.objects.filter(tenant_id=world.tenant.pk)
    rows.exclude(asset__category="Boiler").update(priority=1)
    order = rows.get()
    return {str(order.asset_id): {}, str(order.pk): {"priority": 1}}


@allowed
def update_of_distinct_rows(world: World) -> Told:
    sites(world).filter(territory__name__endswith="Cardiff").distinct().update(customer="Late")
    return {world.site: {"customer": "Late"}}


@allowed
def aupdate(world: World) -> Told:
    wait(sites(world).filter(pk=world.site).aupdate(customer="Late"))
    return {world.site: {"customer": "Late"}}


@allowed
def delete_a_queryset(world: World) -> Told:
    assert sites(world).delete() == (2, {"fieldwork.Site": 2})
    return {world.site: None, world.other_site: None}


@allowed
def delete_of_nothing(world: World) -> Told:
    assert sites(world).filter(name="nobody").delete() == (0, {})
    return {}


@allowed
def adelete_a_queryset(world: World) -> Told:
    wait(sites(world).filter(pk=world.site).adelete())
    return {world.site: None}


# --- managers of related rows -----------------------------------------------------------------


@allowed
def related_create(world: World) -> Told:
    row = territory(world).sites.create(name="New")
    return {str(row.pk): {"name": "New", "territory": world.cardiff}}


@allowed
def related_get_or_create(world: World) -> Told:
    row, _ = territory(world).sites.get_or_create(name="New")
    again, is_new = territory(world).sites.get_or_create(name="New")
    assert (again.pk, is_new) == (row.pk, False)
    return {str(row.pk): {"name": "New"}}


@allowed
def related_update_or_create(world: World) -> Told:
    territory(world).sites.update_or_create(pk=world.site, defaults={"customer": "Late"})
    return {world.site: {"customer": "Late"}}


@allowed
def related_add(world: World) -> Told:
    territory(world).sites.add(sites(world).get(pk=world.other_site))
    return {world.other_site: {"territory": world.cardiff}}


@allowed
def related_add_one_by_one(world: World) -> Told:
    row = new_site(world)
    territory(world).sites.add(row, sites(world).get(pk=world.other_site), bulk=False)
    return {str(row.pk): {"name": "New"}, world.other_site: {"territory": world.cardiff}}


@allowed
def related_add_of_a_row_just_saved(world: World) -> Told:
    row = new_site(world)
    row.save()
    Territory.objects.get(pk=world.newport).sites.add(row)
    return {str(row.pk): {"territory": world.newport}}


@allowed
def related_set_awaited(world: World) -> Told:
    wait(territory(world).sites.aset(sites(world)))
    return {world.other_site: {"territory": world.cardiff}}


@allowed
def related_set(world: World) -> Told:
    territory(world).sites.set(sites(world))
    return {world.other_site: {"territory": world.cardiff}}


@allowed
def related_update(world: World) -> Told:
    assert territory(world).sites.update(customer="Late") == 1
    return {world.site: {"customer": "Late"}}


@allowed
def related_delete(world: World) -> Told:
    territory(world).sites.all().delete()
    return {world.site: None}


@allowed
def related_remove(world: World) -> Told:
    asset, order = order_with_asset(world)
    asset.work_orders.remove(order)
    return {str(asset.pk): {}, str(order.pk): {"asset": None}}


@allowed
def related_remove_one_by_one(world: World) -> Told:
    asset, order = order_with_asset(world)
    asset.work_orders.remove(order, bulk=False)
    return {str(asset.pk): {}, str(order.pk): {"asset": None}}


@allowed
def related_clear(world: World) -> Told:
    asset, order = order_with_asset(world)
    asset.work_orders.clear()
    return {str(asset.pk): {}, str(order.pk): {"asset": None}}


@allowed
def related_aclear(world: World) -> Told:
    asset, order = order_with_asset(world)
    wait(asset.work_orders.aclear())
    return {str(asset.pk): {}, str(order.pk): {"asset": None}}


@allowed
def related_set_to_nothing(world: World) -> Told:
    asset, order = order_with_asset(world)
    asset.work_orders.set([])
    return {str(asset.pk): {}, str(order.pk): {"asset": None}}


@allowed
def related_set_anew(world: World) -> Told:
    asset, order = order_with_asset(world)
    asset.work_orders.set([order], clear=True)
    return {str(asset.pk): {}, str(order.pk): {"asset": str(asset.pk)}}


@allowed
def manager_of_another_name(world: World) -> Told:
    territory(world).sites(manager="objects").update(customer="Late")
    return {world.site: {"customer": "Late"}}


# --- what the engine could not tell, or not compute -------------------------------------------


@bypass("bulk_update")
def update_by_f(world: World) -> Any:
    return sites(world).update(customer=F("name"))


@bypass("bulk_update")
def update_by_expression(world: World) -> Any:
    return sites(world).update(customer=Concat("name", Value("!")))


@bypass("bulk_update")
def update_by_subquery(world: World) -> Any:
    names = Territory.objects.filter(pk=OuterRef("territory_id")).values("name")
    return sites(world).update(customer=Subquery(names))


@bypass("bulk_update")
def update_by_queryset(world: World) -> Any:
    return sites(world).update(customer=Territory.objects.values("name")[:1])


@bypass("bulk_update")
def aupdate_by_f(world: World) -> Any:
    return wait(sites(world).aupdate(customer=F("name")))


@bypass("bulk_update")
def save_an_expression(world: World) -> Any:
    row = site(world)
    row.customer = F("name")
    return row.save()


@bypass("bulk_update")
def create_with_an_expression(world: World) -> Any:
    row = new_site(world)
    row.customer = Value("x")
    return row.save()


@bypass("bulk_update")
def bulk_update_by_expression(world: World) -> Any:
    row = site(world)
    row.customer = F("name")
    return Site.objects.bulk_update([row], ["customer"])


@bypass("bulk_update")
def update_or_create_by_f(world: World) -> Any:
    return sites(world).update_or_create(pk=world.site, defaults={"customer": F("name")})


@bypass("bulk_create")
def bulk_create_that_ignores_conflicts(world: World) -> Any:
    return Site.objects.bulk_create([new_site(world)], ignore_conflicts=True)


@bypass("bulk_update")
def bulk_create_that_overwrites(world: World) -> Any:
    return Site.objects.bulk_create([new_site(world)], None, False, True, ["name"], ["id"])


# --- around the door --------------------------------------------------------------------------


@bypass("bulk_create")
def save_base(world: World) -> Any:
    row = site(world)
    row.customer = "Late"
    return row.save_base()


@bypass("pg_dump")
def save_base_of_a_new_row(world: World) -> Any:
    return new_site(world).save_base(raw=True)


@bypass("pg_dump")
def deserialized_row(world: World) -> Any:
    text = serializers.serialize("json", [site(world)])
    (loaded,) = serializers.deserialize("json", text)
    return loaded.save()


@bypass("bulk_create")
def insert_by_the_base_manager(world: World) -> Any:
    manager: Any = Site._base_manager
    return manager._insert([new_site(world)], fields=Site._meta.concrete_fields)


@bypass("save()")
def update_by_private_method(world: World) -> Any:
    return sites(world)._update([(Site._meta.get_field("customer"), None, "Late")])


@bypass("delete()")
def raw_delete(world: World) -> Any:
    return sites(world)._raw_delete("default")


@bypass("own delete()")
def collector_of_an_instance(world: World) -> Any:
    collector = Collector("default")
    collector.collect([site(world)])
    return collector.delete()


@bypass("own delete()")
def collector_of_a_queryset(world: World) -> Any:
    collector = Collector("default")
    collector.collect(sites(world))
    return collector.delete()


@bypass("using")
def save_elsewhere(world: World) -> Any:
    return new_site(world).save(using="replica")


@bypass("using")
def delete_elsewhere(world: World) -> Any:
    return site(world).delete(using="replica")


@bypass("using")
def update_elsewhere(world: World) -> Any:
    return sites(world).using("replica").update(customer="Late")


@bypass("using")
def delete_a_queryset_elsewhere(world: World) -> Any:
    return sites(world).using("replica").delete()


@bypass("using")
def bulk_create_elsewhere(world: World) -> Any:
    return Site.objects.using("replica").bulk_create([new_site(world)])


@bypass("using")
def bulk_update_elsewhere(world: World) -> Any:
    return Site.objects.using("replica").bulk_update([site(world)], ["name"])


# --- rows that were not read, or are not what was read ----------------------------------------


@bypass("Read it first")
def force_update_of_an_unread_row(world: World) -> Any:
    row = new_site(world)
    row.pk = UUID(world.site)
    return row.save(force_update=True)


@bypass("Read it first")
def named_fields_of_an_unread_row(world: World) -> Any:
    row = new_site(world)
    row.pk = UUID(world.site)
    return row.save(update_fields=["name"])


@bypass("Read it first")
def unread_row_that_claims_to_be_stored(world: World) -> Any:
    row = new_site(world)
    row.pk, row._state.adding = UUID(world.site), False
    return row.save()


@bypass("Read it first")
def bulk_update_of_an_unread_row(world: World) -> Any:
    row = new_site(world)
    row.pk = UUID(world.site)
    return Site.objects.bulk_update([row], ["name"])


@bypass("only()")
def save_a_row_whose_version_was_not_read(world: World) -> Any:
    order_with_asset(world)
    orders = WorkOrder.objects.select_related("site").only("title", "site__name")
    row = orders.get(tenant_id=world.tenant.pk).site
    row.name = "Late"
    return row.save()


@bypass("_state.adding")
def save_under_another_id(world: World) -> Any:
    row = site(world)
    row.pk, row.customer = UUID(world.other_site), "Late"
    return row.save()


@bypass("_state.adding")
def named_fields_under_another_id(world: World) -> Any:
    row = site(world)
    row.pk, row.customer = UUID(world.other_site), "Late"
    return Site.objects.bulk_update([row], ["customer"])


@bypass("one tenant for good")
def save_in_another_tenant(world: World) -> Any:
    row = site(world)
    row.tenant_id = uuid7()
    return row.save()


@bypass("_state.adding")
def delete_under_another_id(world: World) -> Any:
    row = site(world)
    row.pk = UUID(world.other_site)
    return row.delete()


@bypass("one tenant for good")
def delete_in_another_tenant(world: World) -> Any:
    row = site(world)
    row.tenant_id = uuid7()
    return row.delete()


@bypass("Set tenant_id")
def save_without_a_tenant(world: World) -> Any:
    return Site(name="New", territory_id=UUID(world.cardiff)).save()


# --- nested children --------------------------------------------------------------------------


@bypass("with its parent")
def nested_save(world: World) -> Any:
    return task(world).save()


@bypass("with its parent")
def nested_asave(world: World) -> Any:
    return wait(task(world).asave())


@bypass("with its parent")
def nested_delete(world: World) -> Any:
    return task(world).delete()


@bypass("with its parent")
def nested_save_base(world: World) -> Any:
    return task(world).save_base()


@bypass("with its parent")
def nested_create(world: World) -> Any:
    return task(world).work_order.tasks.create(text="More")


@bypass("with its parent")
def nested_get_or_create(world: World) -> Any:
    return task(world).work_order.tasks.get_or_create(text="More")


@bypass("with its parent")
def nested_update_or_create(world: World) -> Any:
    return task(world).work_order.tasks.update_or_create(defaults={"text": "More"})


@bypass("with its parent")
def nested_bulk_create(world: World) -> Any:
    return Task.objects.bulk_create([Task(text="More")])


@bypass("with its parent")
def nested_bulk_update(world: World) -> Any:
    return Task.objects.bulk_update([task(world)], ["text"])


@bypass("with its parent")
def nested_update(world: World) -> Any:
    return task(world).work_order.tasks.update(done=True)


@bypass("with its parent")
def nested_aupdate(world: World) -> Any:
    return wait(Task.objects.all().aupdate(done=True))


@bypass("with its parent")
def nested_queryset_delete(world: World) -> Any:
    return task(world).work_order.tasks.all().delete()


@bypass("with its parent")
def nested_add(world: World) -> Any:
    row = task(world)
    return row.work_order.tasks.add(row)


@bypass("with its parent")
def nested_raw_delete(world: World) -> Any:
    return Task._base_manager.all()._raw_delete("default")


@bypass("own delete()")
def nested_collector(world: World) -> Any:
    collector = Collector("default")
    collector.collect([task(world)])
    return collector.delete()
