"""Pushes that are too large: by rows, by bytes, by a proxy that says nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from fieldsync.testing.answers import HTML


@pytest.mark.parametrize("limit", ["rows", "bytes", "a proxy"])
def test_week_offline_is_halved_until_it_passes(server: Any, phone: Any, limit: str) -> None:
    """Scenario 29: all arrives in order; only what can never pass alone is shown to a person."""
    order = phone["work_orders"].create({"title": "Pump"})
    for at in range(40):
        phone["notes"].create({"work_order": order, "text": f"{at:03}"})
    giant = phone["notes"].create({"work_order": order, "text": "x" * 9_000})
    with phone.client.group("visit"):
        pair = [phone["notes"].create({"work_order": order, "text": text}) for text in "yz"]
    push: Callable[..., httpx2.Response] = server._push

    def too_large(device: str, user: str, key: str, body: bytes) -> httpx2.Response:
        if limit == "a proxy" and len(body) > 2_000:
            return httpx2.Response(413, html=HTML)
        return push(device, user, key, body)

    server._push = too_large
    server.bytes_max = 2_000
    server.rows_max = 2 if limit == "rows" else 1_000
    report = phone.sync()

    (issue,) = phone.client.issues()
    assert (issue.row_id, issue.code, issue.mine["text"]) == (giant, "body_too_large", "x" * 9_000)
    texts = [note["text"] for note in server.live("notes").values()]
    assert texts == [f"{at:03}" for at in range(40)] + ["y", "z"]
    assert dict(report.outcomes) == {"created": 43, "invalid": 1}
    assert phone["notes"].get(pair[0]).version == 1
    for _, body in server.pushes():
        groups = [mutation.get("group") for mutation in json.loads(body)["mutations"]]
        assert groups.count("visit") in {0, 2}
