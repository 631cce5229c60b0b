"""Only some collections: what is chosen is synced, what is left out leaves, and no work is lost."""

from __future__ import annotations

from typing import Any

import pytest
from phone import Phone

import fieldsync
from fieldsync.testing import FakeServer


@pytest.fixture
def office(server: FakeServer, new_phone: Any) -> Phone:
    """A phone that syncs everything, and has made a row of each kind."""
    phone: Phone = new_phone()
    order = phone["work_orders"].create({"title": "Pump"}, id="w1")
    phone["notes"].create({"work_order": order, "text": "rust"}, id="n1")
    phone["sites"].create({"name": "Mill"}, id="s1")
    phone.sync()
    return phone


def choose(phone: Phone, *names: str) -> None:
    """The app starts anew with these collections."""
    phone.options["collections"] = names
    phone.restart()


def held(phone: Phone) -> set[str]:
    """The ids of all rows on the phone."""
    names = ("work_orders", "notes", "sites")
    return {row_id for name in names for row_id in phone.view(name)}


def test_only_the_chosen_are_synced(server: FakeServer, office: Phone, new_phone: Any) -> None:
    kiosk = new_phone(collections=["sites", "work_orders"])

    report = kiosk.client.verify()

    assert held(kiosk) == {"w1", "s1"}
    assert (report.verified, report.pulled) == (True, 2)
    asked = server.requests[-1].url.params["collections"]
    assert asked == "sites,work_orders"


def test_more_of_them_are_filled_in(server: FakeServer, office: Phone, new_phone: Any) -> None:
    """With the cursor that the device has: what it holds does not come again."""
    kiosk = new_phone(collections=["sites"])
    kiosk.sync()
    choose(kiosk, "sites", "notes")

    report = kiosk.client.verify()

    assert held(kiosk) == {"s1", "n1"}
    assert (report.verified, report.pulled) == (True, 1)


def test_fewer_of_them_let_the_rest_go(server: FakeServer, office: Phone) -> None:
    """What was edited and not sent becomes an issue."""
    office["notes"].update("n1", {"text": "worse"})
    choose(office, "sites")

    office.pull()

    assert held(office) == {"s1"}
    (issue,) = office.client.issues()
    assert (issue.row_id, issue.code, issue.mine) == ("n1", "scope_exit", {"text": "worse"})
    assert office.client.verify().verified is True


def test_what_is_only_sent_is_done_with_its_ack(server: FakeServer, office: Phone) -> None:
    """No pull will ever show it."""
    choose(office, "sites")
    office.sync()
    office["notes"].create({"work_order": "w1", "text": "sent"}, id="n2")

    office.sync()

    assert server.live("notes")["n2"]["text"] == "sent"
    assert office.client.status().acked_unseen == 0
    assert held(office) == {"s1"}


def test_ack_of_what_is_left_out_is_not_waited_for(server: FakeServer, office: Phone) -> None:
    """It was given before the choice was made."""
    office["notes"].create({"work_order": "w1", "text": "sent"}, id="n2")
    office.push()
    assert office.client.status().acked_unseen == 1
    choose(office, "sites")

    office.sync()

    assert office.client.status().acked_unseen == 0
    assert held(office) == {"s1"}


@pytest.mark.parametrize("names", [[], [""], ["a,b"], ["x" * 65]])
def test_wrong_choice_is_refused_at_once(tmp_path: Any, names: list[str]) -> None:
    """No name at all would mean all of them to the server."""
    with pytest.raises(ValueError, match="collections"):
        fieldsync.Client("http://server", store=tmp_path / "a.db", collections=names)
