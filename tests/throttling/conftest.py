"""Throttles with rates that a test can reach."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.devstack.valkey import Valkey, start_valkey
from backend.throttling import throttle
from backend.throttling.rates import DEFAULTS, parse_rates

UNLIMITED = {scope: f"{scope}=900000000/1s" for scope in DEFAULTS}

Limit = Callable[..., None]


def render(**rates: str) -> str:
    """Return rates as an operator writes them: these, and no limit for all else."""
    return ",".join(
        {**UNLIMITED, **{scope: f"{scope}={text}" for scope, text in rates.items()}}.values()
    )


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    """Return one that nobody else uses, so that it may be killed."""
    own = start_valkey(folder=tmp_path, environ={})
    yield own
    own.stop()


@pytest.fixture
def limit(settings: Any) -> Iterator[Limit]:
    """Set rates; counted from zero, in this process or on a Redis."""

    def limit(*, redis_url: str = "", **rates: str) -> None:
        settings.THROTTLE_RATES = parse_rates(render(**rates))
        settings.THROTTLE_REDIS_URL = redis_url
        throttle.forget_meter()

    yield limit
    throttle.forget_meter()
