"""Servers are replaced one after the other, as in an upgrade, and nobody in the field notices."""

from __future__ import annotations

import httpx2
import pytest

from backend.devstack.server import Server
from tests.recovery.caddy import is_installed, running_caddy
from tests.recovery.field import Field, running_field

PHONES, ROWS = 4, 30


def replace(field: Field, servers: list[Server]) -> None:
    """Replace servers, one after the other, while everybody works."""
    with field.crew.at_work():
        for server in servers:
            field.crew.wait_for(ROWS)
            field.restart(server)
    field.crew.settle()
    field.prove()


def test_rolling_restart_under_load_loses_nothing() -> None:
    """Each server finishes what it was at, and is not needed while it is away."""
    with running_field(servers=2) as field:
        field.hire(PHONES)

        replace(field, list(field.servers))

        assert field.front.refused == 0, "one of the two was always there"


@pytest.mark.skipif(not is_installed(), reason="caddy is not installed")
def test_proxy_of_deploy_does_the_same() -> None:
    """And lets events through as they come, and the figures of a server to nobody."""
    with (
        running_field(servers=2) as field,
        running_caddy(field.front.ports, field.folder) as url,
    ):
        field.hire(PHONES, url=url)

        replace(field, field.servers[:1])

        assert httpx2.get(f"{url}/metrics").status_code == 404
        token = field.crew.hands[0].client._engine._session.access()
        events = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
        with httpx2.stream("GET", f"{url}/api/v1/sync/events", headers=events) as answer:
            first = next(answer.iter_text())
        assert first.startswith("retry:")
