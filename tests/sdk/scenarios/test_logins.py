"""Tokens run out, apps are upgraded, answers to a refresh get lost: work goes on, in one name."""

from __future__ import annotations

from typing import Any

import pytest

import fieldsync
from fieldsync.testing import Fault


def test_retry_after_a_new_token_and_a_new_app_is_the_same_request(
    server: Any, phone: Any
) -> None:
    """Scenario 5: the key is the device's; neither a token nor a version is part of it."""
    order = phone["work_orders"].create({"title": "Replace the pump seal"})
    server.faults.extend([Fault.LOST_ANSWER] * 6)
    with pytest.raises(fieldsync.Unreachable):
        phone.sync()

    phone.options["app_version"] = "2.0"
    phone.restart()
    server.faults.append(Fault.EXPIRED)
    report = phone.sync()

    assert len(set(server.pushes())) == 1
    tokens = {seen[3]["authorization"] for seen in server.seen if seen[1] == "sync/push"}
    assert len(tokens) == 2
    assert (report.replays, len(server.applied)) == (1, 1)
    assert phone["work_orders"].get(order).version == 1


@pytest.mark.parametrize(
    "lost", [Fault.LOST_ANSWER, Fault.TRUNCATED, Fault.HTML, Fault.CUT_BEFORE]
)
def test_two_weeks_in_a_drawer_and_a_lost_refresh_cost_nothing(
    server: Any, phone: Any, lost: Fault
) -> None:
    """Scenario 25: the same refresh again, also by the next process, gives the same successor."""
    order = phone["work_orders"].create({"title": "Made before the holidays"})
    server.faults.extend([Fault.EXPIRED, *[lost, Fault.CUT_BEFORE] * 5, lost])
    with pytest.raises(fieldsync.Unreachable):
        phone.sync()
    assert phone.client.status().sent == 1

    phone.restart()
    phone.sync()

    assert server.live("work_orders")[order]["title"] == "Made before the holidays"
    assert len(set(server.pushes())) == 1
    assert phone.client.status().sent == phone.client.status().acked_unseen == 0


def test_login_that_is_over_keeps_the_outbox_until_its_owner_is_back(
    server: Any, phone: Any
) -> None:
    """Scenario 25: nobody else can log in meanwhile, and nobody else's name is under the work."""
    order = phone["work_orders"].create({"title": "Tess's"})
    server.faults.append(Fault.EXPIRED)
    server.refuses_refresh = True
    with pytest.raises(fieldsync.AuthRequired):
        phone.sync()

    with pytest.raises(fieldsync.OtherUsersWork):
        phone.login("tom")
    phone["work_orders"].update(order, {"title": "Tess's, still"})
    phone.login("tess")
    phone.sync()

    assert server.live("work_orders")[order]["title"] == "Tess's, still"
    assert phone.client.issues() == []
