"""A server of our own, that strangers may do to what they like."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hostile.target import Target, running_target


@pytest.fixture(scope="session")
def target() -> Iterator[Target]:
    with running_target() as found:
        yield found
