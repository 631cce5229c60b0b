"""What a poke says, how it is put together, and what is not one."""

from __future__ import annotations

import uuid

import pytest

from sync.pokes.message import BYTES_MAX, NAMES_MAX, NOBODY, Poke, parse, render

TENANT = uuid.UUID(int=1)
ANN, BOB = uuid.UUID(int=2), uuid.UUID(int=3)


def poke(head: int, *scopes: str, users: frozenset[uuid.UUID] | None = NOBODY) -> Poke:
    return Poke(tenant_id=TENANT, head=head, scopes=frozenset(scopes), users=users)


EVERYBODY = Poke(tenant_id=TENANT, head=1, scopes=None)


@pytest.mark.parametrize("told", [poke(7, "a", "é"), EVERYBODY, poke(0, users=frozenset({ANN}))])
def test_poke_arrives_as_it_was_sent(told: Poke) -> None:
    """Through both lines, as text and as bytes."""
    assert parse(render(told)) == told
    assert parse(render(told).decode()) == told


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (poke(1, "a"),                    poke(2, "b"),                     poke(2, "a", "b")),
        (poke(2, "a"),                    poke(1, "a"),                     poke(2, "a")),
        (poke(2, "a"),                    EVERYBODY,                        Poke(tenant_id=TENANT, head=2, scopes=None)),
        (poke(0, users=frozenset({ANN})), poke(3, users=frozenset({BOB})),  poke(3, users=frozenset({ANN, BOB}))),
        (poke(0, users=None),             poke(3, users=frozenset({BOB})),  poke(3, users=None)),
    ],
)  # fmt: skip
def test_pokes_of_a_moment_become_one(one: Poke, other: Poke, both: Poke) -> None:
    """It says all that they said; the order does not matter."""
    assert one | other == other | one == both


def test_poke_of_very_many_scopes_is_for_everybody() -> None:
    """Bounded, whatever was written."""
    many = [poke(n, f"s{n}") for n in range(NAMES_MAX + 1)]
    merged = many[0]
    for each in many[1:]:
        merged |= each

    assert merged == Poke(tenant_id=TENANT, head=NAMES_MAX, scopes=None)


def test_long_names_make_a_poke_for_everybody() -> None:
    """PostgreSQL refuses a NOTIFY of 8,000 bytes; a scope may have 80 characters of 4."""
    long = poke(5, *(f"{n:02}" + "\U0001f527" * 78 for n in range(NAMES_MAX)))

    data = render(long)

    assert len(data) <= BYTES_MAX
    assert parse(data) == Poke(tenant_id=TENANT, head=5, scopes=None, users=None)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{}", b"[]", b"null", b"\xff", b"{", "é",
        b'{"tenant_id":"1"}',
        b'{"tenant_id":7,"head":1}',
        b'{"tenant_id":"00000000-0000-0000-0000-000000000001","head":"1"}',
        b'{"tenant_id":"00000000-0000-0000-0000-000000000001","scopes":[1]}',
        b'{"tenant_id":"00000000-0000-0000-0000-000000000001"' + b" " * BYTES_MAX + b"}",
    ],
)  # fmt: skip
def test_what_is_no_poke_is_none(data: bytes | str) -> None:
    """Whoever else writes to the channel."""
    assert parse(data) is None
