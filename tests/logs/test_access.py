"""The line of each request: enough to find out what happened, and nothing that is anybody's."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.utils.module_loading import import_string

from backend.logs import access
from backend.request_id import HEADER, RequestIdFilter
from tests.logwatch import LogWatch
from tests.phones import PULL, Phone, World, create, make_api_key, new_id


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """Return what is written in JSON, as in a container."""
    text = io.StringIO()
    logging_settings: Any = settings.LOGGING
    given: dict[str, Any] = dict(logging_settings["formatters"]["json"])
    form = given.pop("format")
    handler = logging.StreamHandler(text)
    handler.setFormatter(import_string(given.pop("()"))(form, **given))
    handler.addFilter(RequestIdFilter())
    logging.getLogger("backend").addHandler(handler)
    before = access.log.level
    access.log.setLevel(logging.INFO)
    yield text
    access.log.setLevel(before)
    logging.getLogger("backend").removeHandler(handler)


def lines(written: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written.getvalue().splitlines()]


@pytest.fixture
def tess(wales: World) -> Phone:
    return wales.hire()


def test_push_says_who_and_what_came_of_it(
    wales: World, tess: Phone, written: io.StringIO
) -> None:
    good, bad = create("work_orders", **wales.order()), create("work_orders", title="")

    tess.push(good, good | {"id": new_id()}, bad)

    (line,) = lines(written)
    assert line["message"].startswith("POST api/v1/sync/push 200 ")
    assert line["outcomes"] == {"work_orders:created": 2, "work_orders:invalid": 1}
    assert (line["tenant"], line["device"]) == (str(tess.tenant_id), str(tess.device_id))
    assert (line["status"], line["level"], line["logger"]) == (200, "INFO", "backend.logs.access")
    assert isinstance(line["ms"], int)
    assert line["time"]


def test_answer_given_again_says_so(wales: World, tess: Phone, written: io.StringIO) -> None:
    key, order = new_id(), create("work_orders", **wales.order())

    for _ in range(2):
        tess.push(order, key=key)

    assert [line["outcomes"] for line in lines(written)] == [
        {"work_orders:created": 1},
        {"replay": 1},
    ]


def test_request_id_is_that_of_the_answer_and_of_the_problem(
    tess: Phone, written: io.StringIO
) -> None:
    answer = tess.send("GET", f"{PULL}?cursor=nonsense")

    (line,) = lines(written)
    assert line["request_id"] == answer[HEADER] == answer.json()["request_id"]
    assert line["status"] == 400


def test_line_has_nothing_of_what_was_asked_for(
    wales: World, tess: Phone, written: io.StringIO
) -> None:
    """Paths have ids, queries have names and cursors, headers have tokens."""
    order = new_id()
    tess.push(create("work_orders", order, **wales.order()))
    tess.send("GET", f"/api/v1/work-orders/{order}/")
    tess.send("GET", "/api/v1/work-orders/?search=Llewellyn")
    key = make_api_key(wales.hire("admin"), reads=["sites"], writes=[])
    Client().get("/api/v1/sites/", headers={"Authorization": f"Api-Key {key}"})
    Client().get("/api/v1/nothing/Llewellyn")

    text = written.getvalue()
    for secret in (order, "Llewellyn", tess.token, key, wales.canary):
        assert secret not in text
    *_, by_key, unknown = lines(written)
    assert by_key["route"] == "api/v1/sites/"
    assert set(by_key) >= {"tenant", "api_key"}
    assert "tenant" not in unknown


@pytest.mark.parametrize(
    "said",
    [
        ("Bearer eyJhbGciOiJIUzI1NiJ9.eyJ0b2tlbl90",),
        ("key fsk_0123456789abcdef.AbCdEfGhIjKl",),
        ("it was a-long-way-to-cardiff",),
    ],
)
def test_watch_over_all_logs_of_the_tests_finds_what_is_told(said: tuple[str]) -> None:
    watch = LogWatch()

    for name in ("backend.x", "sync", "elsewhere"):
        watch.emit(logging.LogRecord(name, logging.INFO, "x.py", 1, "said %s", said, None))

    assert len(watch.found) == 4, "two loggers of ours, in two forms"
