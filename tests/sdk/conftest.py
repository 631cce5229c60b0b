"""Phones and a server for the SDK's tests."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

# What the tests share lies beside them; they are no package.
sys.path.insert(0, str(Path(__file__).parent))

from phone import Phone

from fieldsync.testing import FakeServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def server() -> FakeServer:
    """An empty server."""
    return FakeServer()


@pytest.fixture
def new_phone(server: FakeServer, tmp_path: Path) -> Iterator[Any]:
    """Makes phones on this server."""
    phones: list[Phone] = []

    def make(username: str | None = "tess", **options: Any) -> Phone:
        phone = Phone(server, tmp_path / f"phone-{len(phones)}.db", **options)
        phones.append(phone)
        return phone.login(username) if username else phone

    yield make
    for phone in phones:
        phone.client.close()


@pytest.fixture
def phone(new_phone: Callable[..., Phone]) -> Phone:
    """A phone on which tess is logged in."""
    return new_phone()


@pytest.fixture
def second(new_phone: Callable[..., Phone]) -> Phone:
    """Another phone of tess."""
    return new_phone()
