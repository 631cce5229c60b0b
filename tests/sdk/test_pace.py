"""Pace: batches follow the link and the limits, and what was frozen never changes."""

from __future__ import annotations

import gzip
import itertools
import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, strategies as st
from phone import Phone

import fieldsync
from fieldsync.merge import Candidate, Edit, choose_batch
from fieldsync.pace import BYTES_MAX, BYTES_MIN, Pace, bound_pace, next_pace
from fieldsync.testing import FakeServer, Fault
from fieldsync.wire import Op

ORDER = {"title": "Replace the seal"}


@pytest.mark.parametrize(
    ("pace", "sent", "took_s", "is_troubled", "following"),
    [
        (Pace(rows=100, bytes=200_000), (100, 10_000),  1.0, False, Pace(rows=200, bytes=400_000)),
        (Pace(rows=100, bytes=200_000), (20, 150_000),  1.0, False, Pace(rows=200, bytes=400_000)),
        (Pace(rows=100, bytes=200_000), (20, 10_000),   1.0, False, Pace(rows=100, bytes=200_000)),
        (Pace(rows=100, bytes=200_000), (100, 10_000),  5.0, False, Pace(rows=100, bytes=200_000)),
        (Pace(rows=100, bytes=200_000), (100, 10_000), 11.0, False, Pace(rows=50, bytes=100_000)),
        (Pace(rows=100, bytes=200_000), (1, 100),       0.1, True,  Pace(rows=50, bytes=100_000)),
        (Pace(rows=1,   bytes=BYTES_MIN), (1, 100),     0.1, True,  Pace(rows=1, bytes=BYTES_MIN)),
        (Pace(rows=1,   bytes=BYTES_MIN), (1, 100),     0.1, False, Pace(rows=2, bytes=2 * BYTES_MIN)),
        (Pace(rows=9,   bytes=BYTES_MAX), (9, 100),     0.1, False, Pace(rows=18, bytes=BYTES_MAX)),
    ],
)  # fmt: skip
def test_pace_follows_the_link(
    pace: Pace, sent: tuple[int, int], took_s: float, is_troubled: bool, following: Pace
) -> None:
    rows, size = sent
    assert following == next_pace(
        pace, sent_rows=rows, sent_bytes=size, took_s=took_s, is_troubled=is_troubled
    )


links = st.lists(st.tuples(st.floats(0, 60), st.booleans()), max_size=40)


@given(links, st.integers(1, 1_000), st.none() | st.integers(1, 10_000_000))
def test_pace_stays_within_its_limits(
    link: list[tuple[float, bool]], rows_max: int, bytes_max: int | None
) -> None:
    """Whatever the link does, there is a batch, and none is beyond the limits."""
    pace = Pace()
    for took_s, is_troubled in link:
        pace = bound_pace(pace, rows_max=rows_max, bytes_max=bytes_max)
        assert 1 <= pace.rows <= rows_max
        assert 1 <= pace.bytes <= min(BYTES_MAX, bytes_max or BYTES_MAX)
        pace = next_pace(
            pace,
            sent_rows=pace.rows,
            sent_bytes=pace.bytes,
            took_s=took_s,
            is_troubled=is_troubled,
        )


sizes = st.lists(
    st.tuples(st.integers(1, 500), st.frozensets(st.sampled_from("GH"), max_size=1)), max_size=15
)


@given(sizes, st.integers(1, 6), st.integers(1, 1_000))
def test_batches_are_bounded_by_rows_and_bytes_and_part_no_group(
    drawn: list[tuple[int, frozenset[str]]], rows_max: int, bytes_max: int
) -> None:
    """Only a single row or group may be beyond, since it cannot be parted."""
    left = [
        Candidate(
            seq=at, row_id=f"r{at}", edit=Edit(op=Op.CREATE, data={}, groups=groups), bytes=size
        )
        for at, (size, groups) in enumerate(drawn)
    ]
    for _ in range(len(drawn) + 1):
        batch = [each for each, _ in choose_batch(left, rows_max=rows_max, bytes_max=bytes_max)]
        left = [each for each in left if each not in batch]
        names = {name for each in batch for name in each.edit.groups}
        is_one = len(batch) == 1 or (len(names) == 1 and all(each.edit.groups for each in batch))
        assert is_one or len(batch) <= rows_max
        assert is_one or sum(each.bytes for each in batch) <= bytes_max
        assert not any(each.edit.groups & names for each in left)
    assert left == []


def batches(server: FakeServer) -> list[int]:
    """The number of mutations of each push, repeats included."""
    return [len(json.loads(body)["mutations"]) for _, body in server.pushes()]


def fill(phone: Phone, rows: int, **fields: Any) -> None:
    for _ in range(rows):
        phone["work_orders"].create(ORDER | fields)


def test_batches_grow_on_a_quick_link(server: FakeServer, phone: Phone) -> None:
    """A first answer tells what the link is worth."""
    fill(phone, 1_000)

    phone.sync()

    assert batches(server) == [100, 200, 400, 300]


def test_batches_shrink_after_a_failure_but_never_the_one_that_is_repeated(
    server: FakeServer, phone: Phone
) -> None:
    """It may have been applied: the same key, the same bytes."""
    fill(phone, 190)
    server.faults.extend([Fault.LOST_ANSWER, Fault.CUT_BEFORE])

    phone.sync()

    assert batches(server) == [100, 100, 100, 50, 40]
    assert len(set(server.pushes())) == 3


def test_batches_shrink_when_answers_are_slow(
    server: FakeServer, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link that takes as long as the time-out allows fails with the next batch."""
    clock = itertools.count(0, 20)
    monkeypatch.setattr("fieldsync.transport.time", SimpleNamespace(monotonic=lambda: next(clock)))
    fill(phone, 180)

    phone.sync()

    assert batches(server) == [100, 50, 25, 5]


def test_failure_that_ends_the_sync_counts_too(server: FakeServer, phone: Phone) -> None:
    fill(phone, 260)
    server.faults.extend([Fault.CUT_BEFORE] * 6)
    with pytest.raises(fieldsync.Unreachable):
        phone.sync()

    phone.sync()

    assert batches(server) == [100] * 7 + [100, 60]  # not doubled: it was slow before


def test_large_rows_travel_in_small_numbers(server: FakeServer, phone: Phone) -> None:
    """A row of 50 kB is no row of 50 bytes."""
    fill(phone, 12, note="x" * 50_000)

    phone.sync()

    assert batches(server) == [5, 7]
    assert max(len(body) for _, body in server.pushes()) <= 512 * 1024


def test_limits_are_asked_for_after_a_413_and_kept(server: FakeServer, phone: Phone) -> None:
    """Nobody sends what will be refused, not even after a restart."""
    server.rows_max = 30
    fill(phone, 100)
    phone.sync()
    assert [path for _, path, *_ in server.seen].count("sync/limits") > 0
    server.seen.clear()

    phone.restart()
    fill(phone, 60)
    phone.sync()

    assert batches(server) == [30, 30]
    assert [path for _, path, *_ in server.seen].count("sync/limits") == 0


def test_413_is_halved_also_where_nobody_tells_the_limits(
    server: FakeServer, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy has limits of its own, and does not publish them."""
    server.rows_max = 30
    monkeypatch.setattr(
        server, "_limits", lambda asked: fieldsync.testing.problem(404, "not_found")
    )
    fill(phone, 100)

    phone.sync()

    assert len(server.live("work_orders")) == 100


def test_large_bodies_travel_packed_and_are_the_same_push(
    server: FakeServer, phone: Phone
) -> None:
    """What counts for the key are the bytes inside; small ones are not worth it."""
    fill(phone, 1)
    phone.sync()
    fill(phone, 50)
    server.faults.append(Fault.LOST_ANSWER)
    phone.sync()

    pushed = [each for each in server.requests if each.url.path.endswith("sync/push")]
    assert [each.headers.get("content-encoding") for each in pushed] == [None, "gzip", "gzip"]
    assert pushed[1].content == pushed[2].content
    assert gzip.decompress(pushed[1].content) == server.pushes()[1][1]
    assert len(pushed[1].content) < len(server.pushes()[1][1]) / 4
    assert len(server.live("work_orders")) == 51


def test_body_that_packing_does_not_shrink_goes_as_it_is(server: FakeServer, phone: Phone) -> None:
    """Photos in base64 are a quarter smaller, or not at all; beyond the limit, plain."""
    server.rows_max = 0
    fill(phone, 1)
    phone.sync()  # now the phone knows the limits
    server.rows_max = 1_000
    limits = json.loads(phone.client._engine._store.get_meta("limits") or "{}")
    limits["compressed_body_bytes_max"], limits["push_rows_max"] = 10, 1_000
    phone.client._engine._store.set_meta(limits=json.dumps(limits))
    fill(phone, 50)

    phone.sync()

    pushed = [each for each in server.requests if each.url.path.endswith("sync/push")]
    assert "content-encoding" not in pushed[-1].headers
