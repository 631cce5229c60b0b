"""Who pushes: tenants with technicians whose devices are logged in. Needs Django set up."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from backend.accounts.models import Device, Membership, Role, Tenant, User
from backend.accounts.selectors import load_session
from backend.accounts.tokens import make_access
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


def make_readers(slug: str, *, devices: int, territories: int) -> list[Sender]:
    """Return devices of one technician, who holds `territories`, of a new tenant."""
    tenant = Tenant.objects.create(slug=slug, name=slug.title())
    places = choose_places()
    make_places(tenant, places)
    user = User.objects.create(username=slug)
    first = log_in(user, tenant, places, more_territories=new_ids(territories - 1))
    return [first, *(_add_device(first, number) for number in range(1, devices))]


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


def log_in(
    user: User, tenant: Tenant, places: Places, *, more_territories: Sequence[str] = ()
) -> Sender:
    """Make `user` a technician who holds the places' territory; return a device of theirs."""
    territories = [places.territory, *more_territories]
    Membership.objects.create(
        tenant=tenant,
        user=user,
        role=Role.TECHNICIAN,
        territories=[UUID(territory) for territory in territories],
    )
    sender = Sender(
        tenant=str(tenant.pk),
        user=str(user.pk),
        device="",
        token="",
        territories=territories,
        sites=places.sites,
        assets=places.assets,
    )
    return _add_device(sender, 0)


def _add_device(sender: Sender, number: int) -> Sender:
    """Return `sender` on another device."""
    tenant_id, user_id = UUID(sender.tenant), UUID(sender.user)
    device = Device.objects.create(
        tenant_id=tenant_id,
        user_id=user_id,
        install_id=f"bench-{number}",
        platform="bench",
        app_version="1",
        created_at=utc_now(),
        last_seen_at=utc_now(),
    )
    session = load_session(user_id=user_id, tenant_id=tenant_id, device_id=device.pk)
    return dataclasses.replace(sender, device=str(device.pk), token=make_access(session))
