"""`docs/production-checklist.md` against the files and tests that it names."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/production-checklist.md"
TEST = re.compile(r"`(tests/[\w./]+)`(?: \(`(\w+)`)?")
LINK = re.compile(r"\]\(([^)#]+)\)")


def test_every_habit_has_its_file_and_its_test() -> None:
    text = PAGE.read_text(encoding="utf-8")
    habits = [line for line in text.splitlines() if line.startswith("| ")][1:]

    assert len(habits) > 10
    for habit in habits:
        tests = TEST.findall(habit)
        assert tests, habit
        for path, name in tests:
            assert (ROOT / path).exists(), path
            assert not name or f"def {name}(" in (ROOT / path).read_text(encoding="utf-8"), name
        assert all((PAGE.parent / link).exists() for link in LINK.findall(habit)), habit
