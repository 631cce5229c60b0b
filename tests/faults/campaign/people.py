"""The people of a history: a tenant of its own, two territories, and who works there."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.hashers import make_password

from backend.accounts.models import Membership, Role, Tenant, User
from sync import local_edits
from sync.ids import uuid7
from tests.faults.campaign.device import PASSWORD
from tests.faults.campaign.history import NOTES, ORDERS, History, Person
from tests.faults.campaign.script import Script

ORDERS_HELD = 3  # of a tenant, in the beginning, with a note at each


def found_tenant(number: int, script: Script, disaster: str) -> History:
    """Make the tenant of a history; its first rows come through the office's door."""
    canary = f"canary-{number}-"
    tenant = Tenant.objects.create(slug=f"campaign-{number}", name=canary)
    cardiff, newport, near, far = (str(uuid7()) for _ in range(4))
    edits = [
        local_edits.create("territories", {"name": f"{canary}C"}, cardiff),
        local_edits.create("territories", {"name": f"{canary}N"}, newport),
        local_edits.create("sites", {"name": f"{canary}A", "territory": cardiff}, near),
        local_edits.create("sites", {"name": f"{canary}B", "territory": newport}, far),
    ]
    for n in range(ORDERS_HELD):
        order = str(uuid7())
        data = {"kind": "repair", "site": far if n == 0 else near, "title": f"{canary}o.{n}"}
        edits += [
            local_edits.create(ORDERS, data, order),
            local_edits.create(NOTES, {"work_order": order, "text": f"{canary}n.{n}"}),
        ]
    local_edits.apply(tenant.pk, edits)
    tess = _hire(tenant, f"{canary}tess", Role.TECHNICIAN, cardiff)
    second = tess if script.is_shared else _hire(tenant, f"{canary}tom", Role.TECHNICIAN, newport)
    dora = _hire(tenant, f"{canary}dora", Role.DISPATCHER)
    return History(
        number=number,
        seed=script.seed,
        canary=canary,
        tenant_id=tenant.pk,
        sites={near: cardiff, far: newport},
        people=[tess, second, dora],
        disaster=disaster,
    )


def _hire(tenant: Tenant, username: str, role: Role, *territories: str) -> Person:
    user = User.objects.create(username=username, password=make_password(PASSWORD))
    Membership.objects.create(
        tenant=tenant, user=user, role=role, territories=[UUID(each) for each in territories]
    )
    return Person(username=username, role=role, territories=territories)
