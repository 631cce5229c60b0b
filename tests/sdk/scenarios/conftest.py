"""Phones that can be killed anywhere, for stories."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mortal import MortalPhone


@pytest.fixture
def mortal(server: Any, tmp_path: Path) -> Iterator[MortalPhone]:
    """A phone on which tess is logged in, with nothing on it."""
    phone = MortalPhone(server, tmp_path / "mortal.db")
    phone.login()
    yield phone
    phone.client.close()
