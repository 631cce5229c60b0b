"""Who pushes: tenants with technicians whose devices are logged in. Needs Django set up."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from backend.accounts.models import Device, Membership, Role, Tenant, User
from backend.accounts.selectors import load_session
from backend.accounts.tokens import make_pair
from loadtests.bench.workload import Sender, new_ids
from sync import local_edits
from sync.clock import utc_now

SITES: Final = 20  # of a tenant, with an asset at each


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Ids of a territory, its sites, and an asset at each of them."""

    territory: str
    sites: Sequence[str]
    assets: Sequence[str]


def make_senders(slug: str, *, devices: int) -> list[Sender]:
    """Return the devices of a new tenant, each of a technician of its own."""
    tenant = Tenant.objects.create(slug=slug, name=slug.title())
    places = choose_places()
    make_places(tenant, places)
    users = [User.objects.create(username=f"{slug}-{number}") for number in range(devices)]
    return [log_in(user, tenant, places) for user in users]


def choose_places() -> Places:
    """Return ids for the places of a tenant, or of several."""
    territory, *rest = new_ids(1 + 2 * SITES)
    return Places(territory=territory, sites=rest[:SITES], assets=rest[SITES:])


def make_places(tenant: Tenant, places: Places) -> None:
    """Write the places into the tenant's tables and feed, through the office's door."""
    edits = [local_edits.create("territories", {"name": "Cardiff"}, places.territory)]
    for site, asset in zip(places.sites, places.assets, strict=True):
        of_territory = {"name": "Works", "territory": places.territory}
        edits.append(local_edits.create("sites", of_territory, site))
        edits.append(local_edits.create("assets", {"site": site, "category": "Pump"}, asset))
    local_edits.apply(tenant.pk, edits)


def log_in(user: User, tenant: Tenant, places: Places) -> Sender:
    """Make `user` a technician who holds the places' territory; return a device of theirs."""
    Membership.objects.create(
        tenant=tenant, user=user, role=Role.TECHNICIAN, territories=[UUID(places.territory)]
    )
    device = Device.objects.create(
        tenant=tenant,
        user=user,
        install_id="bench",
        platform="bench",
        app_version="1",
        created_at=utc_now(),
        last_seen_at=utc_now(),
    )
    session = load_session(user_id=user.pk, tenant_id=tenant.pk, device_id=device.pk)
    return Sender(
        tenant=str(tenant.pk),
        user=str(user.pk),
        device=str(device.pk),
        token=make_pair(session).access,
        territory=places.territory,
        sites=places.sites,
        assets=places.assets,
    )
