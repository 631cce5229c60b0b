"""Checks of the code itself that no linter makes: module openings, and sizes that fit in a head."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path
    for top in ("backend", "sync", "clients/python_sdk/src", "loadtests")
    for path in (ROOT / top).rglob("*.py")
    if "migrations" not in path.parts  # made by a command
)
FUNCTION_LINES_MAX = 50  # one screen
FILE_LINES_MAX = 400  # a few minutes of reading

Function = ast.FunctionDef | ast.AsyncFunctionDef


def body_lines(node: Function) -> int:
    """Return the lines of `node` without its decorators and its docstring."""
    lines = _lines(node)
    if ast.get_docstring(node):
        lines -= _lines(node.body[0])
    return lines


def _lines(node: ast.stmt) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def test_there_is_something_to_check() -> None:
    """A renamed folder must not leave these tests with nothing to do."""
    assert {path.relative_to(ROOT).parts[0] for path in SOURCES} >= {"backend", "sync", "clients"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_is_tidy(path: Path) -> None:
    """A module says what it is for, fits in memory, and so do its functions."""
    source = path.read_text()
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, Function)]
    long = {
        node.name: body_lines(node) for node in functions if body_lines(node) > FUNCTION_LINES_MAX
    }

    assert ast.get_docstring(tree), "no module docstring"
    assert source.count("\n") <= FILE_LINES_MAX
    assert long == {}
