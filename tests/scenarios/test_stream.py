"""A pull as one stream of lines: the same changes, cursors to go on from, packed or not."""

from __future__ import annotations

import json
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import zstandard
from asgiref.sync import async_to_sync, sync_to_async
from rest_framework.test import APIClient

from backend.accounts.models import Device, Membership
from sync.api import pull_view
from tests.phones import PULL, Phone, World, canaries, create

NDJSON = "application/x-ndjson"


def open_stream(phone: Phone, query: str = "", **headers: str) -> Any:
    client: Any = APIClient(raise_request_exception=False)
    return client.get(
        f"{PULL}?{query}",
        headers={"Authorization": f"Bearer {phone.token}", "Accept": NDJSON, **headers},
    )


def read(answer: Any, between: Callable[[int], None] = lambda _: None) -> list[bytes]:
    """Return the chunks of a stream; `between` is called after each of them."""

    async def collect(chunks: AsyncIterator[bytes]) -> list[bytes]:
        found = []
        async for chunk in chunks:
            found.append(chunk)
            await sync_to_async(between)(len(found))
        return found

    chunks: list[bytes] = async_to_sync(collect)(answer.__aiter__())
    return chunks


def lines_of(body: bytes, phone: Phone) -> list[dict[str, Any]]:
    for tenant_id, canary in canaries.items():
        assert tenant_id == phone.tenant_id or canary.encode() not in body
    assert body.endswith(b"\n")
    return [json.loads(line) for line in body.splitlines()]


def stream(phone: Phone, query: str = "") -> list[dict[str, Any]]:
    answer = open_stream(phone, query)
    assert (answer.status_code, answer["Content-Type"]) == (200, NDJSON)
    return lines_of(b"".join(read(answer)), phone)


@pytest.fixture
def twenty(dora: Phone, wales: World, northwind: World) -> None:
    northwind.hire("dispatcher").push(create("work_orders", **northwind.order()))
    dora.push(*(create("work_orders", **wales.order()) for _ in range(20)))


def test_stream_has_what_the_pages_have(alice: Phone, bob: Phone, twenty: None) -> None:
    """The same changes in the same order, and the same cursor at the end."""
    changes = bob.pull(7)

    lines = stream(alice, "limit=7")

    assert [line for line in lines if "op" in line] == changes
    assert lines[-1]["has_more"] is False
    assert lines[-1]["server_time"].endswith("Z")
    alice.cursor = lines[-1]["cursor"]
    assert alice.pull() == []


def test_every_cursor_of_a_stream_goes_on_from_there(
    alice: Phone, bob: Phone, twenty: None
) -> None:
    """Cut anywhere: what came after the last cursor line comes again, and nothing else."""
    lines = stream(alice, "limit=4")
    places = [n for n, line in enumerate(lines) if "cursor" in line]
    assert len(places) > 4

    for place in places:
        rest = [line for line in lines[place:] if "op" in line]
        for again in (stream, phone_pull):
            told = again(alice, f"cursor={lines[place]['cursor']}")
            assert [line for line in told if "op" in line] == rest


def phone_pull(phone: Phone, query: str) -> list[dict[str, Any]]:
    changes: list[dict[str, Any]] = phone.send("GET", f"{PULL}?{query}").json()["changes"]
    return changes


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_packed_stream_can_be_read_as_it_arrives(
    encoding: str, alice: Phone, twenty: None
) -> None:
    """Each chunk ends with a cursor line, whole; so does half a stream."""
    answer = open_stream(alice, "limit=5", **{"Accept-Encoding": encoding})
    assert answer["Content-Encoding"] == encoding
    assert "Accept-Encoding" in answer["Vary"]
    unpack = (
        zlib.decompressobj(16 + zlib.MAX_WBITS).decompress
        if encoding == "gzip"
        else zstandard.ZstdDecompressor().decompressobj().decompress
    )

    chunks = [unpack(chunk) for chunk in read(answer)]

    assert len(chunks) > 3
    assert all("cursor" in lines_of(chunk, alice)[-1] for chunk in chunks if chunk)
    plain = stream(alice, "limit=5")
    told = [line for chunk in chunks for line in lines_of(chunk, alice)]
    for line in (*plain, *told):
        line.pop("server_time", None)
    assert told == plain


def test_errors_are_told_before_the_stream_begins(alice: Phone, twenty: None) -> None:
    """As a status and a problem document, whatever the client accepts."""
    for query, status in (("cursor=x", 400), ("limit=0", 400), ("collections=x", 400)):
        answer = open_stream(alice, query)
        assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json")
    alice.token = "nonsense"
    assert open_stream(alice).status_code == 401


def reassign(phone: Phone, wales: World) -> None:
    Membership.objects.filter(user_id=phone.user_id).update(territories=[])


def revoke(phone: Phone, wales: World) -> None:
    Device.objects.filter(pk=phone.device_id).delete()


@pytest.mark.parametrize("end", [reassign, revoke])
def test_stream_ends_when_its_device_may_not_read_on(
    end: Callable[[Phone, World], None],
    alice: Phone,
    wales: World,
    twenty: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A first sync may take an hour; who was reassigned or locked out must not read to its end."""
    monkeypatch.setattr(pull_view, "ASK_AGAIN_S", 0.0)

    def after(chunks: int) -> None:
        if chunks == 2:
            end(alice, wales)

    chunks = read(open_stream(alice, "limit=3"), after)

    lines = lines_of(b"".join(chunks), alice)
    assert len(lines) < 20
    assert lines[-1]["has_more"] is True
