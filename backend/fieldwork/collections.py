"""How the domain syncs: every collection, its scopes, its conflicts, and who may write it.

territories                      tenant          everybody knows them
sites                            territory:<id>
  assets                         the site's
    inspections                  the asset's
  work_orders                    the site's, and user:<assignee>
    notes, parts_used            the work order's
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from backend.fieldwork import serializers
from backend.fieldwork.numbering import take_numbers
from backend.fieldwork.roles import APPROVERS, TENANT_WIDE, forbidden, judge_role
from backend.fieldwork.selectors import lock_paths
from backend.fieldwork.status import (
    INSPECTION_STEPS,
    WORK_ORDER_STEPS,
    WorkOrderStatus,
    judge_step,
)
from sync.registry import Collection, register
from sync.types import Actor, ConflictPolicy, NestedPolicy, Refusal, Wire

TENANT_SCOPE = "tenant"


def territory_scope(territory_id: object) -> str:
    """Return the scope of the rows in a territory."""
    return f"territory:{territory_id}"


def user_scope(user_id: object) -> str:
    """Return the scope of the rows of a user."""
    return f"user:{user_id}"


class FieldworkCollection(Collection):
    """What all collections here share: the table of roles."""

    def judge(self, actor: Actor, before: Wire | None, after: Wire | None) -> Refusal | None:
        """Ask the roles first, then the collection's own rules."""
        refusal = judge_role(actor, self.name, before, after)
        if refusal is not None or after is None:
            return refusal
        return self.judge_values(actor, before, after)

    def judge_values(self, actor: Actor, before: Wire | None, after: Wire) -> Refusal | None:  # noqa: ARG002
        """Return why the row may not become `after`; the actor's role allows such an edit."""
        return None


@register
class Territories(FieldworkCollection):
    """The tree of regions."""

    name = "territories"
    serializer = serializers.TerritorySerializer
    grants_scopes: ClassVar[bool] = True  # supervisors hold all below theirs

    def own_scopes(self, row: Wire) -> set[str]:  # noqa: ARG002
        """Return the scope that every member holds."""
        return {TENANT_SCOPE}

    def judge_values(self, actor: Actor, before: Wire | None, after: Wire) -> Refusal | None:  # noqa: ARG002
        """A territory stays where it is: to move one, its whole subtree must be written."""
        if before is None or before["parent"] == after["parent"]:
            return None
        return forbidden("parent_fixed", "Territories are moved in the admin.", fields=["parent"])

    def assign(self, actor: Actor, rows: Mapping[str, Wire]) -> None:
        """Give each territory its path, below its parent's."""
        outside = {row["parent"] for row in rows.values()} - rows.keys() - {None}
        paths = dict(lock_paths(actor.tenant_id, outside)) if outside else {}
        for row_id, row in rows.items():
            row["path"] = f"{paths.get(row['parent'], '/')}{row_id}/"
            paths[row_id] = row["path"]


@register
class Sites(FieldworkCollection):
    """Customers' places."""

    name = "sites"
    serializer = serializers.SiteSerializer

    def own_scopes(self, row: Wire) -> set[str]:
        """Return the scope of the site's territory."""
        return {territory_scope(row["territory"])}

    def judge_values(self, actor: Actor, before: Wire | None, after: Wire) -> Refusal | None:
        """Everybody sees all territories, but puts sites only into those that they hold."""
        scope = territory_scope(after["territory"])
        is_kept = before is not None and before["territory"] == after["territory"]
        if is_kept or actor.role in TENANT_WIDE or scope in actor.scopes:
            return None
        return forbidden("territory_not_held", "Not your territory.", fields=["territory"])


@register
class Assets(FieldworkCollection):
    """Things at sites."""

    name = "assets"
    serializer = serializers.AssetSerializer
    parent: ClassVar[str | None] = "site"


@register
class WorkOrders(FieldworkCollection):
    """Work at sites; edits of different fields are merged."""

    name = "work_orders"
    serializer = serializers.WorkOrderSerializer
    conflicts = ConflictPolicy.MERGE_FIELDS
    parent: ClassVar[str | None] = "site"

    def own_scopes(self, row: Wire) -> set[str]:
        """Return the assignee's scope: they see it wherever it is."""
        return {user_scope(row["assignee"])} if row["assignee"] else set()

    def judge_values(self, actor: Actor, before: Wire | None, after: Wire) -> Refusal | None:
        """Ask the status machine, and who may approve."""
        status = after["status"]
        if before is not None:
            refusal = judge_step(WORK_ORDER_STEPS, before["status"], status)
            if refusal is not None or status == before["status"]:
                return refusal
        if status == WorkOrderStatus.APPROVED and actor.role not in APPROVERS:
            detail = f"A {actor.role} may not approve work orders."
            return forbidden("approval_forbidden", detail, fields=["status"])
        return None

    def assign(self, actor: Actor, rows: Mapping[str, Wire]) -> None:
        """Give each work order its number."""
        unnumbered = [row for row in rows.values() if not row["number"]]
        numbers = take_numbers(actor.tenant_id, len(unnumbered)) if unnumbered else []
        for row, number in zip(unnumbered, numbers, strict=True):
            row["number"] = number


@register
class Inspections(FieldworkCollection):
    """Forms about assets."""

    name = "inspections"
    serializer = serializers.InspectionSerializer
    children: ClassVar[Mapping[str, NestedPolicy]] = {"answers": NestedPolicy.MERGE_BY_ID}
    parent: ClassVar[str | None] = "asset"

    def judge_values(self, actor: Actor, before: Wire | None, after: Wire) -> Refusal | None:  # noqa: ARG002
        """Ask the status machine."""
        if before is None:
            return None
        return judge_step(INSPECTION_STEPS, before["status"], after["status"])


@register
class Notes(FieldworkCollection):
    """What was written down about work orders."""

    name = "notes"
    serializer = serializers.NoteSerializer
    parent: ClassVar[str | None] = "work_order"

    def assign(self, actor: Actor, rows: Mapping[str, Wire]) -> None:
        """Sign each note; the office's own have no author unless it named one."""
        if actor.user_id is not None:
            for row in rows.values():
                row["author"] = str(actor.user_id)


@register
class PartsUsed(FieldworkCollection):
    """Material that work orders took."""

    name = "parts_used"
    serializer = serializers.PartUsedSerializer
    parent: ClassVar[str | None] = "work_order"
