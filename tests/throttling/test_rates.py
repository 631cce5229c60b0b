"""Rates as operators write them, and who a request counts for."""

from __future__ import annotations

import pytest
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from backend.throttling.identity import address_of, name_of
from backend.throttling.rates import DEFAULTS, Window, parse_rates

OUTBOX = 5_000  # rows of a device after a long spell
BATCH = 100


def test_defaults_let_a_device_drain_its_outbox() -> None:
    """In batches of 100, as fast as it can, within the long window."""
    (burst, sustained) = parse_rates("")["push"]

    assert burst.limit >= 10
    assert sustained.limit >= 10 * OUTBOX // BATCH
    assert parse_rates("").keys() == DEFAULTS.keys()


def test_rates_take_the_place_of_the_defaults() -> None:
    rates = parse_rates("push=7/1s 70/10m, export = 1/1h")

    assert rates["push"] == (Window(7, 1), Window(70, 600))
    assert rates["export"] == (Window(1, 3_600),)
    assert rates["login"] == parse_rates("")["login"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("pull=1/1s", "'pull=1/1s', which does not begin with one of"),
        ("push", "'push', which does not begin"),
        ("push=1", "'1', which is not written like"),
        ("push=0/1s", "'0/1s', which"),
        ("push=1/0s", "'1/0s', which"),
        ("push=1/1w", "'1/1w', which"),
        ("push=9999999999/1s", "which is not written like"),
    ],
)
def test_what_cannot_be_read_is_named(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match="has") as caught:
        parse_rates(text)

    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("proxies", "told", "address"),
    [
        (0, "1.1.1.1", "9.9.9.9"),  # no proxy of ours: whatever is told is the client's tale
        (1, "1.1.1.1", "1.1.1.1"),
        (1, "6.6.6.6, 1.1.1.1", "1.1.1.1"),  # the client has put one before
        (2, "6.6.6.6, 1.1.1.1, 2.2.2.2", "1.1.1.1"),
        (2, "1.1.1.1", "9.9.9.9"),  # not by way of our proxies
        (1, "", "9.9.9.9"),
        (1, " , ", "9.9.9.9"),
    ],
)
def test_address_is_what_our_own_proxies_say(proxies: int, told: str, address: str) -> None:
    made = APIRequestFactory().get("/", REMOTE_ADDR="9.9.9.9", HTTP_X_FORWARDED_FOR=told)

    assert address_of(Request(made), proxies) == address


def test_names_are_bounded_and_the_same_in_any_case() -> None:
    assert name_of("Tess ") == name_of("tess")
    assert name_of("tess") != name_of("tom")
    assert len(name_of("x" * 10_000)) == len(name_of(""))
    assert name_of(None)
