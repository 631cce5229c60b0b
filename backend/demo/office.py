"""What the office does meanwhile: it reassigns a technician whose device hears nothing of it.

    prepare     before the first sync: work far from their territories is theirs
    carry_out   while they are offline: one territory goes, another comes, and the work that they
                were lent goes to a colleague

Import it once Django is set up: it writes as the office's own pages do.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from django.db.models import Count

from backend.accounts.models import Membership
from backend.fieldwork.access import held_scopes
from backend.fieldwork.models import Territory, WorkOrder
from sync import local_edits

if TYPE_CHECKING:
    from uuid import UUID

LENT_ROWS: Final = 20  # enough that some are edited before they go


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reassignment:
    """What is to change for one technician."""

    member: Membership
    lost: Territory
    gained: Territory
    lent: tuple[str, ...]  # work orders of other territories, theirs until then
    heir: Membership | None  # who has them afterwards

    def __str__(self) -> str:
        heir = self.heir.user.username if self.heir else "nobody"
        return (
            f"{self.member.user.username} loses {self.lost.name}, gains {self.gained.name}; "
            f"{len(self.lent)} jobs go to {heir}"
        )


def prepare(tenant_id: UUID, username: str, heir: str | None) -> Reassignment:
    """Lend `username` some work, and return what will become of them."""
    members = Membership.objects.filter(tenant_id=tenant_id).select_related("user")
    member = members.get(user__username=username)
    elsewhere = WorkOrder.objects.filter(tenant_id=tenant_id).exclude(
        site__territory_id__in=member.territories
    )
    busiest = (
        elsewhere.values("site__territory_id").annotate(orders=Count("id")).order_by("-orders")
    )
    names = {row.pk: row for row in Territory.objects.filter(tenant_id=tenant_id)}
    gained = names[busiest[0]["site__territory_id"]]
    far = elsewhere.exclude(site__territory_id=gained.pk).filter(assignee_id=None).order_by("id")
    lent = tuple(str(row_id) for row_id in far.values_list("id", flat=True)[:LENT_ROWS])
    _assign(tenant_id, lent, member)
    return Reassignment(
        member=member,
        lost=names[member.territories[0]],
        gained=gained,
        lent=lent,
        heir=members.get(user__username=heir) if heir else None,
    )


def carry_out(planned: Reassignment) -> frozenset[str]:
    """Reassign the technician; return the scopes that they have from now on."""
    member = planned.member
    member.territories = [*member.territories[1:], planned.gained.pk]
    member.save()
    _assign(member.tenant_id, planned.lent, planned.heir)
    return held_scopes(member, [])  # a technician's need no paths


def _assign(tenant_id: UUID, orders: tuple[str, ...], to: Membership | None) -> None:
    values = {"assignee": str(to.user_id) if to else None}
    local_edits.apply(
        tenant_id, [local_edits.update("work_orders", order, values) for order in orders]
    )
