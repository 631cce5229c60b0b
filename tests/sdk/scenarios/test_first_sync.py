"""A first sync that breaks off, again and again, on its way."""

from __future__ import annotations

from typing import Any

import pytest

import fieldsync
from fieldsync.testing import Fault

ROWS = 50
PAGE_ROWS = 10
PAGE_EFFECTS = 3  # the request, the page, and its end


@pytest.fixture
def many(server: Any, phone: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty rows on the server, and pages of ten."""
    server.can_stream = False
    monkeypatch.setattr("fieldsync.engine.pull.PAGE_ROWS_MAX", PAGE_ROWS)
    for at in range(ROWS):
        phone["work_orders"].create({"title": str(at)}, id=f"w{at:02}")
    phone.sync()


@pytest.mark.usefixtures("many")
def test_first_sync_broken_at_60_percent_goes_on_from_there(server: Any, new_phone: Any) -> None:
    """Scenario 30: no page comes twice, and the end is the same as that of one without a break."""
    broken, fresh = new_phone(), new_phone()
    server.faults.extend([None] * 3 + [Fault.CUT_BEFORE] * 6)
    with pytest.raises(fieldsync.Unreachable):
        broken.sync()
    assert broken.client.status().rows == ROWS * 6 // 10
    server.edit("work_orders", "w00", title="edited meanwhile")
    server.delete("work_orders", "w01")
    server.delete("work_orders", "w49")

    broken.restart()
    report = broken.sync()
    fresh.sync()

    assert report.pulled == 19 + 3  # what was left, and what happened to others meanwhile
    assert broken.view("work_orders") == fresh.view("work_orders") == server.live("work_orders")


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("effect", range(ROWS // PAGE_ROWS * PAGE_EFFECTS))
@pytest.mark.parametrize("is_answered", [False, True], ids=["before it", "behind it"])
def test_process_killed_at_any_effect_goes_on_from_its_page(
    server: Any, mortal: Any, effect: int, is_answered: bool
) -> None:
    """Scenario 30: what is on the disk is whole pages, and the cursor behind the last of them."""
    mortal.sync_until(effect, is_answered=is_answered)
    there = effect // PAGE_EFFECTS * PAGE_ROWS
    assert mortal.client.status().rows == there

    assert mortal.sync().pulled == ROWS - there

    assert mortal.view("work_orders") == server.live("work_orders")
