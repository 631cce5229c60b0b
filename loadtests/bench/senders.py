"""Who pushes: tenants with technicians whose devices are logged in. Needs Django set up."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from backend.accounts.models import Device, Membership, Role, Tenant, User
from backend.accounts.selectors import load_session
from backend.accounts.tokens import make_pair
from loadtests.bench.workload import Sender, new_ids
from sync import local_edits
from sync.clock import utc_now

SITES: Final = 20  # of a tenant, with an asset at each


def make_tenant(slug: str, *, devices: int) -> list[Sender]:
    """Return the devices of a new tenant; all their users hold its one territory."""
    tenant = Tenant.objects.create(slug=slug, name=slug.title())
    territory, *_ = new_ids(1)
    sites, assets = new_ids(SITES), new_ids(SITES)
    edits = [local_edits.create("territories", {"name": "Cardiff"}, territory)]
    for site, asset in zip(sites, assets, strict=True):
        edits += [
            local_edits.create("sites", {"name": "Works", "territory": territory}, site),
            local_edits.create("assets", {"site": site, "category": "Pump"}, asset),
        ]
    local_edits.apply(tenant.pk, edits)
    made = []
    for number in range(devices):
        user = User.objects.create(username=f"{slug}-{number}")
        device, token = _log_in(user, tenant.pk, territory)
        made.append(
            Sender(
                tenant=str(tenant.pk),
                user=str(user.pk),
                device=device,
                token=token,
                territory=territory,
                sites=sites,
                assets=assets,
            )
        )
    return made


def _log_in(user: User, tenant_id: UUID, territory: str) -> tuple[str, str]:
    """Make `user` a technician; return a device of theirs and its access token."""
    Membership.objects.create(
        tenant_id=tenant_id, user=user, role=Role.TECHNICIAN, territories=[UUID(territory)]
    )
    device = Device.objects.create(
        tenant_id=tenant_id,
        user=user,
        install_id="bench",
        platform="bench",
        app_version="1",
        created_at=utc_now(),
        last_seen_at=utc_now(),
    )
    session = load_session(user_id=user.pk, tenant_id=tenant_id, device_id=device.pk)
    return str(device.pk), make_pair(session).access
