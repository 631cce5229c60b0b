"""The clock skew of a device, and noting that it was heard from."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from backend.accounts.models import Device
from backend.accounts.selectors import is_same, load_session
from backend.accounts.services import SEEN_EVERY, Heard, note_seen, read_count, read_skew_ms

if TYPE_CHECKING:
    from tests.accounts.conftest import Login

NOW = dt.datetime(2026, 11, 23, 12, 0, 0, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("client_time", "skew_ms"),
    [
        ("2026-11-23T12:00:01.500Z",         1_500),
        ("2026-11-23T11:59:00Z",           -60_000),
        ("2026-11-23T14:00:00+02:00",            0),
        ("9999-12-31T23:59:59-23:59", 251_606_951_939_000),
        ("2026-11-23T12:00:01",               None),  # whose noon?
        ("2026-11-23",                        None),
        ("1700000000",                        None),
        ("half past nine",                    None),
        ("",                                  None),
    ],
)  # fmt: skip
def test_skew_is_the_devices_clock_less_ours(client_time: str, skew_ms: int | None) -> None:
    """Positive: the device is ahead."""
    assert read_skew_ms(client_time, NOW) == skew_ms


def test_twins_note_a_device_once(login: Login) -> None:
    """Two requests at once have both read the old time; only the first one's stands."""
    Device.objects.update(last_seen_at=NOW)
    first, second = Device.objects.get(), Device.objects.get()
    later = NOW + SEEN_EVERY

    note_seen(first, Heard(), now=later)
    note_seen(
        second, Heard(client_time="2030-01-01T00:00:00Z"), now=later + dt.timedelta(seconds=1)
    )

    device = Device.objects.get()
    assert (device.last_seen_at, device.clock_skew_ms) == (later, None)


def test_what_a_device_says_of_itself_is_no_news_to_its_polls(login: Login) -> None:
    """An answer that is repeated rests on who it is, and not on when it was heard, or what of."""
    device = Device.objects.get()
    ids = {"user_id": device.user_id, "tenant_id": device.tenant_id, "device_id": device.pk}
    before = load_session(**ids).found

    Device.objects.update(outbox_rows=5, clock_skew_ms=7, last_seen_at=NOW, read_seq=9)
    heard = load_session(**ids).found
    Device.objects.update(app_version="another")
    other = load_session(**ids).found

    assert is_same(before, heard)
    assert not is_same(before, other)


def test_request_without_clock_keeps_the_last_skew(login: Login) -> None:
    """Not to send the header is no statement about the clock."""
    Device.objects.update(last_seen_at=NOW, clock_skew_ms=42)

    note_seen(Device.objects.get(), Heard(), now=NOW + SEEN_EVERY)

    assert Device.objects.get().clock_skew_ms == 42


@pytest.mark.parametrize(
    ("text", "count"),
    [("0", 0), ("17", 17), ("999999999", 999_999_999), ("1000000000", None), ("-1", None),
     ("1.5", None), ("٣", None), ("", None)],
)  # fmt: skip
def test_unsent_rows_are_a_number_or_nothing(text: str, count: int | None) -> None:
    assert read_count(text) == count


def test_unsent_work_is_noted_and_forgotten_when_it_is_sent(login: Login) -> None:
    """A phone that goes silent between the two is one to look for; one after both is not."""
    Device.objects.update(last_seen_at=NOW)
    note_seen(Device.objects.get(), Heard(outbox_rows="17"), now=NOW + SEEN_EVERY)
    assert Device.objects.get().outbox_rows == 17

    note_seen(Device.objects.get(), Heard(outbox_rows="3"), now=NOW + SEEN_EVERY)
    assert Device.objects.get().outbox_rows == 17, "one write is enough"

    note_seen(Device.objects.get(), Heard(), now=NOW + SEEN_EVERY)
    assert Device.objects.get().outbox_rows == 17, "an app that does not say so says nothing"

    note_seen(Device.objects.get(), Heard(outbox_rows="0"), now=NOW + SEEN_EVERY)
    assert Device.objects.get().outbox_rows == 0
