"""A person goes on working while the phone is sending."""

from __future__ import annotations

import json
from typing import Any

import pytest

MOMENTS = ["first", "while its first edit is sent", "while its second edit is sent"]


@pytest.mark.parametrize("last", ["update", "delete"])
def test_edits_during_every_request_go_out_one_after_the_other(
    server: Any, phone: Any, last: str
) -> None:
    """Scenario 7: each ack covers what was sent, each next edit is on the version that it made."""
    orders = phone["work_orders"]
    order = orders.create({"title": MOMENTS[0]})
    moments = iter(MOMENTS[1:])

    def go_on(path: str) -> None:
        if path != "sync/push":
            return
        title = next(moments, None)
        if title:
            orders.update(order, {"title": title})
            assert orders.get(order).data["title"] == title
        elif last == "delete" and orders.get(order):
            orders.delete(order)

    server.before_answer = go_on
    phone.sync()

    sent = [json.loads(body)["mutations"][0] for _, body in server.pushes()]
    expected = [(None, MOMENTS[0]), (1, MOMENTS[1]), (2, MOMENTS[2])]
    assert [(m.get("base_version"), m["data"]["title"]) for m in sent[:3]] == expected
    assert [(m["op"], m["base_version"]) for m in sent[3:]] == [("delete", 3)] * (last == "delete")
    assert phone.view("work_orders") == server.live("work_orders")
    assert phone.client.issues() == []


def test_edit_behind_a_refused_one_is_asked_about_too(
    server: Any, phone: Any, second: Any
) -> None:
    """Scenario 7: the sent edit lost against a colleague; the newer one must not slip past them."""
    form = phone["inspections"].create({"result": "ok"})
    phone.sync()
    second.sync()
    second["inspections"].update(form, {"result": "leaks"})
    second.sync()
    phone["inspections"].update(form, {"result": "fine"})

    def edit_once(path: str) -> None:
        server.before_answer = lambda path: None
        phone["inspections"].update(form, {"result": "very fine"})

    server.before_answer = edit_once
    phone.sync()

    assert server.live("inspections")[form]["result"] == "leaks"
    assert [issue.mine for issue in phone.client.issues()] == [
        {"result": "fine"},
        {"result": "very fine"},
    ]
