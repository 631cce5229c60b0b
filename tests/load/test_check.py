"""The storm held to the floor and to what is committed: what counts as worse."""

from __future__ import annotations

import json
from typing import Any

import pytest

from loadtests.load.check import BASELINE, MEMORY_MIB_MAX, NOISE, SPEED_MIN, find_worse, render

GOOD: dict[str, Any] = {"speed": 0.8, "cpu": 2.0, "largest_process_mib": 120, "memory_mib": 230}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("speed", 0.8 * (1 - NOISE) - 0.01),
        ("cpu", 2.0 * (1 + NOISE) + 0.01),
        ("largest_process_mib", 120 * (1 + NOISE) + 1),
        ("memory_mib", MEMORY_MIB_MAX + 1),
    ],
)
def test_figure_that_became_worse_is_named(name: str, value: float) -> None:
    (worse,) = find_worse({**GOOD, name: value}, GOOD)

    assert worse.startswith(name)
    assert "WORSE" in render({**GOOD, name: value, "worse": [worse]}, GOOD)


def test_noise_is_no_reason() -> None:
    found = {"speed": 0.7, "cpu": 2.2, "largest_process_mib": 140, "memory_mib": 236}

    assert find_worse(found, GOOD) == []


def test_target_holds_whatever_the_baseline_says() -> None:
    slow = {**GOOD, "speed": SPEED_MIN - 0.01}

    assert find_worse(slow, slow) != []


def test_committed_baseline_is_good_and_names_its_machine() -> None:
    baseline = json.loads(BASELINE.read_text())

    assert find_worse(baseline, baseline) == []
    assert baseline["machine"]["cpus"]
