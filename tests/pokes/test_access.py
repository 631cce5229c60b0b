"""Who sees what may change while a stream is open."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

from rest_framework_simplejwt.tokens import AccessToken

from backend.accounts.models import Device, Membership, Role, Tenant, User
from sync.clock import utc_now
from tests.phones import Phone, World, create, new_id, update
from tests.pokes.conftest import head_of
from tests.pokes.rig import Watch, hold_a_pull, push, served, wait_for_listeners

SOON_S = 0.2  # of a look at who it is by now, where a test is about that


def membership_of(phone: Phone) -> Membership:
    return Membership.objects.get(tenant_id=phone.tenant_id, user_id=phone.user_id)


def test_revoked_device_loses_its_stream_at_once(
    redis_pair: Any, redis_pokes: None, wales: World
) -> None:
    """A stolen phone must not go on listening; the colleague's stream stays."""
    here, there = redis_pair
    alice, bob = wales.hire(), wales.hire()
    wait_for_listeners(0)

    with Watch(here, alice) as of_alice, Watch(here, bob) as of_bob:
        of_alice.next_poke()
        of_bob.next_poke()
        wait_for_listeners(1)
        device = Device.objects.get(pk=alice.device_id)
        device.revoked_at = device.created_at
        device.save()
        assert of_alice.is_at_end()
        push(there, bob, create("work_orders", **wales.order()))

        assert of_bob.next_poke() == head_of(wales)


def test_whatever_ends_a_login_ends_its_stream(
    redis_pair: Any, redis_pokes: None, wales: World
) -> None:
    """Each is written in another place."""
    here, _ = redis_pair

    def end_user(phone: Phone) -> None:
        user = User.objects.get(pk=phone.user_id)
        user.is_active = False
        user.save()

    def end_membership(phone: Phone) -> None:
        membership_of(phone).delete()

    def end_tenant(phone: Phone) -> None:
        tenant = Tenant.objects.get(pk=phone.tenant_id)
        tenant.is_active = False
        tenant.save()

    for end in (end_user, end_membership, end_tenant):
        phone = wales.hire()
        wait_for_listeners(0)
        with Watch(here, phone) as watch:
            watch.next_poke()
            wait_for_listeners(1)
            end(phone)
            assert watch.is_at_end(), end.__name__


def test_writes_past_the_models_are_noticed_a_little_later(wales: World, tmp_path: Path) -> None:
    """`QuerySet.update` tells nobody; a stream looks now and then."""
    alice = wales.hire()

    with served(tmp_path, STREAM_RECHECK_S=SOON_S) as server, Watch(server, alice) as watch:
        watch.next_poke()
        Device.objects.filter(pk=alice.device_id).update(revoked_at=utc_now())

        assert watch.is_at_end()


def test_stream_does_not_outlive_its_token(wales: World, tmp_path: Path) -> None:
    """A token that leaked is of use for its few minutes, on a stream too."""
    alice = wales.hire()
    token = AccessToken(alice.token)  # type: ignore[arg-type]

    with served(tmp_path, STREAM_RECHECK_S=SOON_S) as server:
        token.set_exp(from_time=utc_now(), lifetime=dt.timedelta(seconds=3))
        alice.token = str(token)
        with Watch(server, alice) as watch:
            watch.next_poke()

            assert watch.is_at_end()


def test_device_with_other_scopes_is_poked_and_hears_of_those(
    redis_pair: Any, redis_pokes: None, wales: World
) -> None:
    """A technician is sent to Newport: what is there is news, and what happens there from now on."""
    here, there = redis_pair
    dora, alice = wales.hire(Role.DISPATCHER), wales.hire()
    wait_for_listeners(0)

    with Watch(here, alice) as watch:
        head = watch.next_poke()
        wait_for_listeners(1)
        moved = membership_of(alice)
        moved.territories = [UUID(wales.newport)]
        moved.save()
        assert watch.next_poke() == head
        push(there, dora, create("work_orders", **wales.order()))
        push(there, dora, create("work_orders", **wales.order(site=wales.other_site)))

        assert watch.next_poke() == head_of(wales) == head + 2


def test_supervisor_hears_of_a_new_territory_below_theirs(redis_pair: Any, wales: World) -> None:
    """Nobody wrote the membership, but what it stands for has grown."""
    here, there = redis_pair
    dora, sam = wales.hire(Role.DISPATCHER), wales.hire(Role.SUPERVISOR)
    splott, site = new_id(), new_id()
    wait_for_listeners(0)

    with Watch(here, sam) as watch:
        head = watch.next_poke()
        wait_for_listeners(1)
        push(there, dora, create("territories", splott, name="Splott", parent=wales.cardiff))
        assert watch.next_poke() == head + 1
        push(there, dora, create("sites", site, name="Docks", territory=splott))
        assert watch.next_poke() == head + 2
        push(there, dora, update("sites", site, 1, name="Dock"))

        assert watch.next_poke() == head + 3


def test_held_pull_of_a_revoked_device_is_refused_at_once(
    redis_pokes: None, wales: World, tmp_path: Path, redis_url: str
) -> None:
    """It is asked again who they are before anything is answered."""
    alice, bob = wales.hire(), wales.hire()
    wait_for_listeners(0)

    with (
        served(tmp_path, POKE_URL=redis_url, WAITING_MAX=1) as server,
        ThreadPoolExecutor(1) as pool,
    ):
        held = hold_a_pull(pool, server, alice, bob)
        wait_for_listeners(1)
        device = Device.objects.get(pk=alice.device_id)
        device.revoked_at = device.created_at
        device.save()
        reply = held.result()

    assert (reply.status, reply.code) == (401, "device_revoked")
