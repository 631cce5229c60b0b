"""Where the work is: territories, the sites in them, and the assets at those."""

from __future__ import annotations

from typing import Final

from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q, Value
from django.db.models.functions import Cast, Concat, Length
from django.db.models.lookups import Exact, LessThanOrEqual

from backend.fieldwork.models.listed import list_index
from backend.fieldwork.models.searched import ASSET_WORDS, SITE_WORDS
from backend.fieldwork.status import AssetStatus
from sync.synced_model import SyncedModel
from sync.tenancy import TenantForeignKey

TREE_DEPTH_MAX: Final = 5
UUID_CHARS: Final = 36
PATH_CHARS_MAX: Final = 1 + TREE_DEPTH_MAX * (UUID_CHARS + 1)
ACCESS_NOTES_CHARS_MAX: Final = 5_000

_TEXT = models.TextField()
_SLASH = Value("/", output_field=_TEXT)
_OWN_END = Concat(_SLASH, Cast("id", _TEXT), _SLASH)
_CHILD_END = Concat(_SLASH, Cast("parent_id", _TEXT), _OWN_END)


class Territory(SyncedModel):
    """A region, and a scope of its own.

    `path` names all ids from the root of the tree down to this one: `/<id>/<id>/`. It follows
    from `parent`; `services.move_territory` keeps the two together.
    """

    name = models.CharField(max_length=200)
    parent = TenantForeignKey(
        "self", null=True, blank=True, related_name="children", db_index=False
    )
    path = models.TextField(editable=False, default="")

    class Meta:
        db_table = "territory"
        verbose_name_plural = "territories"
        indexes = (
            models.Index(fields=("parent", "tenant_id"), name="territory_by_parent"),
            list_index("name", name="territory_by_name"),
        )
        constraints = (
            models.CheckConstraint(condition=~Q(name=""), name="territory_named"),
            models.CheckConstraint(
                condition=Q(Exact(models.F("path"), _OWN_END), parent__isnull=True)
                | Q(parent__isnull=False, path__endswith=_CHILD_END),
                name="territory_path_fits_parent",
            ),
            models.CheckConstraint(
                condition=LessThanOrEqual(Length("path"), PATH_CHARS_MAX),
                name="territory_not_too_deep",
            ),
        )

    def __str__(self) -> str:
        return self.name


class Site(SyncedModel):
    """A customer's place in one territory."""

    name = models.CharField(max_length=200)
    customer = models.CharField(max_length=200, blank=True, default="")
    address = models.CharField(max_length=500, blank=True, default="")
    latitude = models.FloatField(null=True, blank=True)  # degrees, WGS 84
    longitude = models.FloatField(null=True, blank=True)
    access_notes = models.CharField(max_length=ACCESS_NOTES_CHARS_MAX, blank=True, default="")
    territory = TenantForeignKey(Territory, related_name="sites", db_index=False)

    class Meta:
        db_table = "site"
        indexes = (
            models.Index(fields=("territory", "tenant_id"), name="site_by_territory"),
            list_index("name", name="site_by_name"),
            GinIndex(SITE_WORDS, name="site_by_words"),
        )
        constraints = (
            models.CheckConstraint(condition=~Q(name=""), name="site_named"),
            models.CheckConstraint(
                condition=Q(latitude__range=(-90, 90)), name="site_latitude_on_earth"
            ),
            models.CheckConstraint(
                condition=Q(longitude__range=(-180, 180)), name="site_longitude_on_earth"
            ),
        )

    def __str__(self) -> str:
        return self.name


class Asset(SyncedModel):
    """A thing at a site that is looked after."""

    site = TenantForeignKey(Site, related_name="assets", db_index=False)
    tag = models.CharField(max_length=64, blank=True, default="")
    category = models.CharField(max_length=100)
    brand = models.CharField(max_length=100, blank=True, default="")
    installed_on = models.DateField(null=True, blank=True)
    status = models.CharField(max_length=16, choices=AssetStatus, default=AssetStatus.IN_SERVICE)
    attributes = models.JSONField(default=dict, blank=True)

    class Meta:
        db_table = "asset"
        indexes = (
            models.Index(fields=("site", "tenant_id"), name="asset_by_site"),
            GinIndex(ASSET_WORDS, name="asset_by_words"),
        )
        constraints = (
            models.CheckConstraint(condition=~Q(category=""), name="asset_has_category"),
            models.CheckConstraint(
                condition=Q(status__in=AssetStatus.values), name="asset_status_known"
            ),
            models.CheckConstraint(
                condition=Exact(
                    models.Func("attributes", function="jsonb_typeof", output_field=_TEXT),
                    Value("object"),
                ),
                name="asset_attributes_are_object",
            ),
        )

    def __str__(self) -> str:
        return f"{self.brand} {self.category}".strip()
