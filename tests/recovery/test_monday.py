"""Monday, eight o'clock: everybody's phone comes back at once, with the weekend's work."""

from __future__ import annotations

import re

import httpx2

from tests.recovery.field import PROBED, running_field

PHONES, ROWS = 16, 5
TOKEN = "a-token-of-some-length-that-nobody-guesses"


def test_everybody_at_once_is_told_to_wait_and_arrives_once() -> None:
    """Scenario 27: more than the server takes are told when to come back, and do."""
    with running_field(QUEUE_MAX="1", WORKER_THREADS="1", METRICS_TOKEN=TOKEN) as field:
        field.hire(PHONES)
        for hand in field.crew.hands:
            hand.edit(ROWS)

        field.crew.settle()

        field.prove()
        assert field.statuses() <= {200, 201, 304, 429, PROBED}
        figures = httpx2.get(
            f"{field.servers[0].url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}
        ).text
        (turned_away,) = re.findall(r"^fieldsync_busy_total ([0-9.]+)$", figures, re.M)
        assert float(turned_away) > 0, "the crowd was too small to show anything"
