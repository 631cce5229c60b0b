"""Servers are replaced one after the other, as in an upgrade, and nobody in the field notices."""

from __future__ import annotations

from tests.recovery.field import running_field

PHONES, ROUNDS, ROWS = 6, 2, 60


def test_rolling_restart_under_load_loses_nothing() -> None:
    """Each server finishes what it was at, and is not needed while it is away."""
    with running_field(servers=2) as field:
        field.hire(PHONES)

        with field.crew.at_work():
            for _ in range(ROUNDS):
                for server in list(field.servers):
                    field.crew.wait_for(ROWS)
                    field.restart(server)
        field.crew.settle()

        field.prove()
        assert field.front.refused == 0, "one of the two was always there"
