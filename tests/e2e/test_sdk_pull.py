"""What the SDK's pull promises, against the real server in a process of its own."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

import fieldsync
from backend.devstack.server import Server
from backend.fieldwork.models import WorkOrder
from sync.testing.faulty_link import Fault, faulty_link
from tests.e2e.conftest import Make

NDJSON = "application/x-ndjson"
COLLECTIONS = ("territories", "sites", "assets", "work_orders", "inspections", "notes")


class Wire:
    """Connections that remember what went over them."""

    def __init__(self) -> None:
        self.answers: list[httpx2.Response] = []
        self.http = httpx2.Client(event_hooks={"response": [self.answers.append]}, timeout=60)

    def said(self, path: str) -> list[httpx2.Response]:
        return [each for each in self.answers if each.url.path.endswith(path)]


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire()
    yield wire
    wire.http.close()


@pytest.fixture
def tess(seeded: None, phone: Make, server: Server, wire: Wire) -> fieldsync.Client:
    return phone("tess", url=server.url, http=wire.http)


def spoil(client: fieldsync.Client, sql: str) -> int:
    """Change the replica past the engine; return how many rows it was."""
    return len(client._engine._store.writer.execute(f"{sql} RETURNING 1"))


def rows_of(client: fieldsync.Client) -> dict[tuple[str, str], Any]:
    return {
        (name, row.id): (row.version, row.data)
        for name in COLLECTIONS
        for row in client.collection(name).all()
    }


def test_first_sync_is_a_packed_stream_and_then_polls_are_304(
    tess: fieldsync.Client, wire: Wire
) -> None:
    """The cheapest ways that the server has."""
    first = tess.sync()
    for _ in range(3):
        assert tess.sync().pulled == 0

    pulls = wire.said("sync/pull")
    assert pulls[0].headers["content-type"] == NDJSON
    assert pulls[0].headers["content-encoding"] in {"gzip", "zstd"}
    assert [pull.status_code for pull in pulls] == [200, 200, 304, 304]
    assert (first.verified, first.repaired) == (True, 0)
    assert first.pulled == tess.status().rows > 20


@pytest.mark.parametrize("legs", [7, 1_000])
def test_stream_that_is_cut_comes_to_the_same_replica(
    phone: Make, server: Server, legs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte for byte, as the digest proves."""
    monkeypatch.setattr("fieldsync.engine.pull.PAGE_ROWS_MAX", legs)
    whole = phone("tess", url=server.url)
    whole.sync()
    with faulty_link(server.url, rng=random.Random(2)) as link:
        cut = phone("tess", url=link.url, sleep=lambda seconds: None)
        link.force(Fault.ANSWER_TRUNCATED, Fault.ANSWER_TRUNCATED, Fault.CUT_BEFORE)

        report = cut.sync()

    assert link.counts[Fault.ANSWER_TRUNCATED] == 2
    assert (report.verified, report.repaired) == (True, 0)
    assert rows_of(cut) == rows_of(whole)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE replica SET data = '{}' WHERE collection = 'work_orders'",
        "UPDATE replica SET version = version + 7 WHERE collection = 'assets'",
        "DELETE FROM replica WHERE collection = 'sites'",
        "INSERT INTO replica SELECT 'sites', 'x' || row_id, 1, '{}', 1 FROM replica",
    ],
)
def test_replica_that_was_spoiled_is_mended(
    tess: fieldsync.Client, wire: Wire, sql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bucket by bucket; no edit is lost on the way."""
    monkeypatch.setattr("fieldsync.engine.check.BUCKETS_MAX", 256)
    tess.sync()
    before = rows_of(tess)
    spoiled = spoil(tess, sql)
    assert spoiled > 0

    report = tess.verify()

    assert (report.verified, report.repaired) == (True, spoiled)
    assert len(wire.said("sync/pull")) == 2
    assert rows_of(tess) == before


def test_replica_that_is_wrong_throughout_is_pulled_afresh(
    tess: fieldsync.Client, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fieldsync.engine.check.BUCKETS_MAX", 5)
    tess.sync()
    before = rows_of(tess)
    spoil(tess, "UPDATE replica SET data = '{}'")

    report = tess.verify()

    assert report.verified is True
    assert rows_of(tess) == before
    assert wire.said("sync/rows") == []


def test_chosen_collections_may_change(
    tess: fieldsync.Client, phone: Make, server: Server
) -> None:
    """More of them are filled in, fewer let the rest go, with the cursor that there is."""
    tess.sync()
    held = Counter(name for name, _ in rows_of(tess))

    def kiosk(*names: str) -> fieldsync.Client:
        return phone("tess", url=server.url, store="kiosk", collections=names)

    for names in (("sites",), ("sites", "assets", "work_orders"), ("assets",)):
        client = kiosk(*names)
        report = client.verify()
        assert (report.verified, report.repaired) == (True, 0)
        found = Counter(name for name, _ in rows_of(client))
        assert found == Counter({name: held[name] for name in names})
        client.close()


def test_batches_are_packed_and_follow_the_servers_limits(
    tess: fieldsync.Client, wire: Wire
) -> None:
    """Growing, since the link is quick."""
    tess.sync()
    site = tess.collection("sites").all()[0].id
    before = WorkOrder.objects.count()
    for at in range(350):
        tess.collection("work_orders").create(
            {"kind": "repair", "site": site, "title": f"Pump {at}"}
        )

    report = tess.sync()

    pushes = wire.said("sync/push")
    assert [push.status_code for push in pushes] == [200, 200, 200]
    assert {push.request.headers.get("content-encoding") for push in pushes} == {"gzip"}
    assert report.outcomes == {"created": 350}
    assert WorkOrder.objects.count() == before + 350
    assert tess.verify().repaired == 0
