"""Exports: the list as a file, whole or cut, in the memory of one page."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from backend.accounts.models import Device
from sync import local_edits
from sync.api import exports
from tests.phones import Phone, World
from tests.rest.conftest import ORDERS, make_order, problem
from tests.rest.test_lists import ids

SMALL_PAGE = 2


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "PAGE_ROWS", SMALL_PAGE)


def read_all(answer: Any) -> bytes:
    async def collect() -> bytes:
        return b"".join([chunk async for chunk in answer.streaming_content])

    return async_to_sync(collect)()


def export(who: Phone, query: str = "") -> Any:
    """Ask for an export; its canaries are looked for by whoever reads it."""
    from rest_framework.test import APIClient

    client: Any = APIClient()
    return client.get(f"{ORDERS}export/{query}", headers={"Authorization": f"Bearer {who.token}"})


def fill(world: World, count: int = 5, **data: Any) -> None:
    local_edits.apply(
        world.tenant.pk,
        [local_edits.create("work_orders", world.order(**data)) for _ in range(count)],
    )


@pytest.mark.django_db(transaction=True)
def test_export_has_the_rows_of_the_list(wales: World, northwind: World, dora: Phone) -> None:
    fill(wales)
    fill(wales, priority=1)
    fill(northwind)

    for query in ("", "priority=1"):
        answer = export(dora, f"?as=ndjson&{query}")
        lines = [json.loads(line) for line in read_all(answer).splitlines()]
        table = list(csv.DictReader(io.StringIO(read_all(export(dora, f"?{query}")).decode())))
        listed = ids(dora, priority=1) if query else ids(dora)
        assert [line["id"] for line in lines] == sorted(listed)
        assert [line["id"] for line in table] == sorted(listed)
        assert table[0].keys() == lines[0].keys()
        assert northwind.canary not in json.dumps(lines)
    assert answer["Content-Disposition"] == 'attachment; filename="work_orders.ndjson"'


@pytest.mark.django_db(transaction=True)
def test_formula_is_no_formula_in_a_spreadsheet(wales: World, dora: Phone) -> None:
    fill(wales, 1, title='=HYPERLINK("http://evil")')

    (row,) = csv.DictReader(io.StringIO(read_all(export(dora)).decode()))

    assert row["title"] == '\'=HYPERLINK("http://evil")'


@pytest.mark.django_db(transaction=True)
def test_device_that_is_locked_out_gets_no_more(wales: World, dora: Phone) -> None:
    """In the middle: the answer is cut, and does not look whole."""
    fill(wales)

    async def read_on(answer: Any) -> None:
        chunks = answer.streaming_content
        await anext(chunks)
        await Device.objects.filter(pk=dora.device_id).aupdate(revoked_at="2026-01-01T00:00Z")
        async for _ in chunks:
            pass

    with pytest.raises(exports.ExportCut):
        async_to_sync(read_on)(export(dora))


@pytest.mark.parametrize("query", ["?as=xml", "?limit=3", "?status=nonsense", "?colour=red"])
def test_nonsense_is_refused_before_it_begins(wales: World, dora: Phone, query: str) -> None:
    make_order(dora, wales)

    answer = dora.send("GET", f"{ORDERS}export/{query}")

    assert answer.status_code == 400
    assert problem(answer)["code"] in {"parameter_invalid", "validation_failed"}
