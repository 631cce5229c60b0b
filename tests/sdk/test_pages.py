"""What app authors read: every link leads somewhere, and every example is run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SDK = ROOT / "clients/python_sdk"
PAGES = [SDK / "README.md", *sorted((SDK / "docs").glob("*.md"))]
LINK = re.compile(r"\]\((?!https?://)([^)#]+)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = LINK.findall(page.read_text())

    assert [each for each in targets if not (page.parent / each).exists()] == []


def test_every_page_is_found_from_the_readme() -> None:
    targets = LINK.findall(PAGES[0].read_text())

    assert [page.name for page in PAGES[1:] if f"docs/{page.name}" not in targets] == []


def test_every_example_is_run() -> None:
    """On a real server, in a process of its own."""
    tests = (ROOT / "tests/e2e/test_examples.py").read_text()
    examples = [path.name for path in (SDK / "examples").glob("*.py")]

    assert len(examples) >= 3
    assert [name for name in examples if f'"{name}"' not in tests] == []
