"""Bodies over real HTTP, to a server in a process of its own: in every framing, up to every limit."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator

import httpx2
import pytest
import zstandard

from backend.devstack.server import Server
from backend.fieldwork.models import Note
from tests.e2e.conftest import Make
from tests.e2e.memory import MIB, forget_peak, memory_bytes, only_linux
from tests.phones import PUSH, Phone, World, create, make_world, new_id

CHUNK_BYTES = 64 * 1024
NOTE_BYTES = 8 * 1024  # a thousand of them are as much as a push may have
PUSH_S_MAX = 120
# Several copies are alive at once: as text, as values, as checked values, as rows, as changes.
GROWTH_PER_BODY_MAX = 24

PACK: dict[str, Callable[[bytes], bytes]] = {
    "identity": lambda body: body,
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


@pytest.fixture
def wales(server: Server) -> World:
    return make_world("wales")


@pytest.fixture
def alice(wales: World) -> Phone:
    return wales.hire()


@pytest.fixture
def link(server: Server) -> Iterator[httpx2.Client]:
    """Return connections to the server."""
    with httpx2.Client(base_url=server.url, timeout=PUSH_S_MAX) as client:
        yield client


def chunked(body: bytes) -> Iterator[bytes]:
    """Yield `body` in parts: a client that gets such a body cannot know its length."""
    for start in range(0, len(body), CHUNK_BYTES):
        yield body[start : start + CHUNK_BYTES]


FRAME: dict[str, Callable[[bytes], bytes | Iterator[bytes]]] = {
    "content-length": lambda body: body,
    "chunked": chunked,
}


def send(
    link: httpx2.Client, phone: Phone, body: bytes, *, framing: str, encoding: str, key: str = "k"
) -> httpx2.Response:
    """Push `body`, packed already, in one framing."""
    return link.post(
        PUSH,
        content=FRAME[framing](body),
        headers={
            "Authorization": f"Bearer {phone.token}",
            "Content-Type": "application/json",
            "Content-Encoding": encoding,
            "Idempotency-Key": key,
        },
    )


def note_push(wales: World, rows: int) -> tuple[bytes, list[str]]:
    """Return a push of a work order and so many notes of `NOTE_BYTES`, and the notes' ids."""
    order = create("work_orders", **wales.order())
    ids = [new_id() for _ in range(rows)]
    mutations = [order]
    for row_id in ids:
        note = create("notes", row_id, work_order=order["id"], text="")
        rest = NOTE_BYTES - len(json.dumps(note).encode()) - len(", ")
        note["data"]["text"] = "é" * (rest // 2)  # two bytes on the wire
        mutations.append(note)
    body = {"policy": "per_row", "mutations": mutations}
    return json.dumps(body, ensure_ascii=False).encode(), ids


@pytest.mark.parametrize("framing", FRAME)
def test_body_arrives_in_every_framing_and_packing(
    framing: str, link: httpx2.Client, alice: Phone, wales: World
) -> None:
    """HTTP libraries choose the framing, and phones the packing, as they like."""
    for encoding, pack in PACK.items():
        body, ids = note_push(wales, 40)

        answer = send(link, alice, pack(body), framing=framing, encoding=encoding, key=new_id())

        assert (answer.status_code, answer.json()["status"]) == (200, "ok")
        assert Note.objects.filter(pk__in=ids).count() == 40


@pytest.mark.parametrize("framing", FRAME)
def test_limits_hold_whatever_the_framing(
    framing: str, link: httpx2.Client, alice: Phone, wales: World
) -> None:
    """Each answer names the limit, so that the phone knows what to halve."""
    spaces = b'{"mutations": [' + b" " * (8 * MIB) + b"]}"
    cases = [
        ("identity", spaces, "body_bytes_max"),
        ("gzip", gzip.compress(spaces), "body_bytes_max"),
        ("zstd", PACK["zstd"](spaces), "body_bytes_max"),
        ("gzip", bytes(4 * MIB + 1), "compressed_body_bytes_max"),
        ("zstd", bytes(4 * MIB + 1), "compressed_body_bytes_max"),
        ("gzip", bytes(9 * MIB), "compressed_body_bytes_max"),
    ]

    for encoding, body, limit in cases:
        answer = send(link, alice, body, framing=framing, encoding=encoding)

        assert (answer.status_code, answer.json()["limit"]) == (413, limit), (encoding, len(body))


def test_batch_beyond_the_limit_is_halved_and_a_giant_row_becomes_an_issue(
    phone: Make, server: Server
) -> None:
    """Whatever was written offline in a bad week gets through; what never can is shown."""
    client = phone("tess", url=server.url, push_rows_max=1_000)
    client.sync()
    site = client.collection("sites").all()[0].id
    order = client.collection("work_orders").create(
        {"kind": "repair", "site": site, "title": "Pump"}
    )
    notes = client.collection("notes")
    ids = [notes.create({"work_order": order, "text": "é" * 4_500}) for _ in range(999)]
    giant = notes.create({"work_order": order, "text": "x" * (9 * MIB)})

    client.sync()

    (issue,) = client.issues()
    assert (issue.row_id, issue.code) == (giant, "body_too_large")
    assert Note.objects.filter(pk__in=ids).count() == 999


@only_linux
def test_largest_legal_push_takes_bounded_memory(
    server: Server, link: httpx2.Client, alice: Phone, wales: World
) -> None:
    """A bound on each request is a bound on the server: one thread, one push."""
    first, _ = note_push(wales, 1)  # what is imported and connected with it stays
    send(link, alice, first, framing="content-length", encoding="identity", key=new_id())
    body, ids = note_push(wales, 999)
    assert 7.5 * MIB < len(body) <= 8 * MIB
    before = forget_peak(server)

    answer = send(link, alice, body, framing="content-length", encoding="identity", key=new_id())

    growth = memory_bytes(server, "VmHWM") - before
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    assert Note.objects.filter(pk__in=ids).count() == 999
    assert len(body) < growth < GROWTH_PER_BODY_MAX * len(body), growth / len(body)
