"""The TLA+ specifications: short enough to be read, and each checked by `make specs`."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SPECS = ROOT / "docs" / "specs"
LINES_MAX = 150


def listed(name: str) -> set[str]:
    """Return what a variable of the Makefile names."""
    (found,) = re.findall(rf"^{name} := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return set(found.split())


def test_specifications_are_short() -> None:
    for path in SPECS.glob("*.tla"):
        assert len(path.read_text().splitlines()) <= LINES_MAX, path.name


def test_each_model_is_checked() -> None:
    """What is right, and how it goes wrong: what nobody checks says nothing."""
    assert {path.stem for path in SPECS.glob("*.tla")} == listed("SPECS")
    assert {path.stem for path in SPECS.glob("*.cfg")} == listed("SPECS") | listed("WRONG_SPECS")


def test_each_model_asks_for_what_its_specification_states() -> None:
    """A name in a model that the specification does not define would be an error of TLC's."""
    for path in SPECS.glob("*.cfg"):
        spec = next(each for each in sorted(listed("SPECS")) if path.stem.startswith(each))
        text = (SPECS / f"{spec}.tla").read_text()
        asked = re.findall(r"^(?:INVARIANTS|PROPERTY|SPECIFICATION) (.*)$", path.read_text(), re.M)
        for name in " ".join(asked).split():
            assert re.search(rf"^{name} ==", text, re.M), (path.name, name)
        constants = set(re.findall(r"^    (\w+) = ", path.read_text(), re.M))
        (declared,) = re.findall(r"^CONSTANTS (.*)$", text, re.M)
        assert constants == set(declared.split(", ")), path.name
