"""Deleting something that does not sync, and that synced rows refer to."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from uuid import UUID

import pytest
from django.apps import apps
from django.db import connection, models, transaction
from django.db.models import ProtectedError

from backend.postgres.apps import grant
from sync import registry
from sync.errors import BypassesFeed
from sync.ids import uuid7
from sync.models import ChangeRow
from sync.registry import Collection
from sync.serializers import ReferenceField, RowSerializer
from sync.synced_model import SyncedModel
from sync.types import Wire
from tests.phones import Phone, World
from tests.sync.agreement import findings_of


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """A model of teams that does not sync, and one of vans that does and names a team."""

    team: Any
    van: Any


@pytest.fixture
def make_fleet(wales: World) -> Iterator[Callable[..., Fleet]]:
    """Return what makes the two models for a way to delete, tables and collection and all."""
    before = dict(registry._collections)

    yield declare_fleet

    registry._collections.clear()
    registry._collections.update(before)
    registry.ranked_collections.cache_clear()
    for name in ("team", "van"):
        apps.all_models["fieldwork"].pop(name, None)
    apps.clear_cache()


def declare_fleet(on_delete: Any, *, does_team_travel: bool = True) -> Fleet:
    class Team(models.Model):
        id = models.UUIDField(primary_key=True, default=uuid7)

        class Meta:
            app_label = "fieldwork"

        def __str__(self) -> str:
            return str(self.pk)

    class Van(SyncedModel):
        plate = models.CharField(max_length=20)
        team = models.ForeignKey(Team, null=True, on_delete=on_delete, related_name="vans")

        class Meta:
            app_label = "fieldwork"

        def __str__(self) -> str:
            return self.plate

    def known_teams(tenant_id: UUID, ids: Iterable[str]) -> set[str]:
        return {
            str(pk) for pk in Team._default_manager.filter(pk__in=ids).values_list("pk", flat=True)
        }

    class VanSerializer(RowSerializer):
        if does_team_travel:
            team = ReferenceField(
                source="team_id", known=known_teams, required=False, allow_null=True
            )

        class Meta:
            model = Van
            fields = ["plate", "team"] if does_team_travel else ["plate"]

    class Vans(Collection):
        name = "vans"
        serializer = VanSerializer

        def own_scopes(self, row: Wire) -> set[str]:  # noqa: ARG002
            return {"tenant"}

    registry.register(Vans)
    with connection.schema_editor() as editor:
        editor.create_model(Team)
        editor.create_model(Van)
    grant(using=connection.alias)  # as after `migrate`
    return Fleet(team=Team, van=Van)


def test_cleared_reference_reaches_the_phones(
    make_fleet: Callable[..., Fleet], wales: World, phone: Phone
) -> None:
    """SET_NULL updates rows behind everybody's back; here it is an edit like any other."""
    fleet = make_fleet(models.SET_NULL)
    team = fleet.team.objects.create()
    vans = [team.vans.create(tenant_id=wales.tenant.pk, plate=f"V{n}") for n in range(3)]
    phone.pull()

    team.delete()

    assert {c["id"]: (c["version"], c["data"]["team"]) for c in phone.pull()} == {
        str(van.pk): (2, None) for van in vans
    }
    assert findings_of(wales) == []


def test_cascade_into_synced_rows_is_refused(
    make_fleet: Callable[..., Fleet], wales: World, phone: Phone
) -> None:
    """Devices would keep what is gone; the message says to delete the rows first."""
    fleet = make_fleet(models.CASCADE)
    team = fleet.team.objects.create()
    van = team.vans.create(tenant_id=wales.tenant.pk, plate="V")

    for delete in (team.delete, fleet.team.objects.all().delete):
        with pytest.raises(BypassesFeed, match="Deleting Van rows in a cascade"), atomic():
            delete()
    assert fleet.team.objects.count() == 1
    fleet.van.objects.all().delete()
    team.delete()

    assert ChangeRow.objects.get(row_id=str(van.pk)).op == "delete"
    assert findings_of(wales) == []


def test_protected_row_is_protected(make_fleet: Callable[..., Fleet], wales: World) -> None:
    """Django's own words, before anything is written."""
    fleet = make_fleet(models.PROTECT)
    team = fleet.team.objects.create()
    team.vans.create(tenant_id=wales.tenant.pk, plate="V")

    with pytest.raises(ProtectedError), atomic():
        team.delete()
    assert findings_of(wales) == []


def test_column_that_does_not_travel_is_not_written(
    make_fleet: Callable[..., Fleet], wales: World
) -> None:
    """The engine writes the columns of the collection; it must not drop others in silence."""
    fleet = make_fleet(models.PROTECT, does_team_travel=False)
    team = fleet.team.objects.create()
    van = fleet.van.objects.create(tenant_id=wales.tenant.pk, plate="V")
    van.team = team

    for write in (
        van.save,
        lambda: fleet.van.objects.update(team=team),
        lambda: fleet.van.objects.bulk_update([van], ["team"]),
        lambda: fleet.van.objects.create(tenant_id=wales.tenant.pk, plate="V", team=team),
    ):
        with pytest.raises(BypassesFeed, match="Add the field to VanSerializer"):
            write()
    assert fleet.van.objects.get().version == 1


def atomic() -> Any:
    return transaction.atomic()
