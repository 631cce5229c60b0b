"""`docs/scenarios.md` against the tests that it names."""

from __future__ import annotations

import ast
import functools
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "scenarios.md").read_text()
SCENARIO_TABLE = DOCS.partition("\n## ")[0]
SCENARIOS = 35
TOLD = {*range(1, 23), 25, 26, *range(28, 36)}
PLANNED = "*planned*"
NAME = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
ROWS = {
    int(number): cell
    for number, cell in re.findall(r"^\| (\d+) \| .* \| ([^|]*) \|$", SCENARIO_TABLE, re.MULTILINE)
}
NAMED = sorted(set(NAME.findall(DOCS)))


@functools.cache
def functions_of(path: str) -> list[str]:
    """Return the names of the test functions in a file."""
    tree = ast.parse((ROOT / path).read_text())
    return [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]


def test_every_scenario_has_its_line() -> None:
    """In order, none left out."""
    assert list(ROWS) == list(range(1, SCENARIOS + 1))


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_named_test_exists(path: str, name: str) -> None:
    """Once: a second function of that name would hide the first."""
    assert functions_of(path).count(name) == 1


@pytest.mark.parametrize("number", ROWS)
def test_scenario_has_tests_or_says_that_they_are_planned(number: int) -> None:
    """And what is there today cannot quietly become a promise again."""
    cell = ROWS[number]
    named = [f"`{path}::{name}`" for path, name in NAME.findall(cell)]

    assert cell == ("<br>".join(named) or PLANNED)
    assert named or number not in TOLD


def test_no_test_is_named_twice_for_one_scenario() -> None:
    """And none stands for two of them."""
    names = Counter(each for cell in ROWS.values() for each in NAME.findall(cell))

    assert [each for each, count in names.items() if count > 1] == []
