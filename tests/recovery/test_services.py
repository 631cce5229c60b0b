"""PostgreSQL and Redis go away under everybody's hands, and come back."""

from __future__ import annotations

import redis

from tests.recovery.field import PROBED, running_field

PHONES, ROWS = 4, 20


def test_redis_is_flushed_and_restarted_under_load() -> None:
    """Scenario 32: no truth lives there. Counters and pokes begin anew, and nothing is done twice."""
    with running_field(servers=2) as field:
        field.hire(PHONES)

        with field.crew.at_work():
            field.crew.wait_for(ROWS)
            with redis.Redis.from_url(field.valkey.url) as session:
                session.flushall()
            field.crew.wait_for(ROWS)
            field.valkey.restart()
            field.crew.wait_for(ROWS)
            field.valkey.stop()
            field.crew.wait_for(ROWS)
            field.valkey.restart()
            field.crew.wait_for(ROWS)
        field.crew.settle()

        field.prove()
        assert field.statuses() <= {200, 201, 304, 429, PROBED}, "without Redis nobody is refused"


def test_postgresql_crashes_under_load() -> None:
    """Scenario 33: a push in the middle of its COMMIT is a 503; its key knows what became of it."""
    with running_field(servers=2) as field:
        field.hire(PHONES)

        with field.crew.at_work():
            for is_crash in (True, False, True):
                field.crew.wait_for(ROWS)
                field.postgres.restart(crash=is_crash)
            field.crew.wait_for(ROWS)
        field.crew.settle()

        field.prove()
        assert field.statuses() <= {200, 201, 304, 410, 429, 503, PROBED}
