"""Versions below which there are known holes: in what we ask for, what we pin, what is installed.

Auditing tools may skip a package that they cannot look up and still report success; this cannot.
"""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
# The first version without the hole, or without the fault that we met in it.
FLOORS = {
    "django": "5.2.17",
    "djangorestframework": "3.18.2",
    "djangorestframework-simplejwt": "5.5.1",
    "drf-spectacular": "0.30",
    "pyjwt": "2.15",
    "django-redis": "7",
    "psycopg": "3.3",
    "uvicorn": "0.54",
    "pillow": "13",  # overflow on a crafted JPEG
    "limits": "5.8",
    "httpx2": "2.16",
}


def _asked_for() -> list[Requirement]:
    """Return every requirement of both distributions, with their groups and extras."""
    found: list[str] = []
    for path in (ROOT / "pyproject.toml", ROOT / "clients/python_sdk/pyproject.toml"):
        document: dict[str, Any] = tomllib.loads(path.read_text())
        project = document["project"]
        lists = [
            project.get("dependencies", []),
            *project.get("optional-dependencies", {}).values(),
            *document.get("dependency-groups", {}).values(),
        ]
        found += [each for several in lists for each in several if isinstance(each, str)]
    return [Requirement(each) for each in found]


def _pinned(lock: Path) -> dict[str, Version]:
    pins = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]+\])?==([^ ;\\]+)", lock.read_text(), re.M)
    return {canonicalize_name(name): Version(pin) for name, pin in pins}


ASKED_FOR = _asked_for()
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))


@pytest.mark.parametrize("requirement", ASKED_FOR, ids=str)
def test_installed_version_is_one_that_is_asked_for(requirement: Requirement) -> None:
    """An environment that was made long ago is where old holes live on."""
    if requirement.marker is not None and not requirement.marker.evaluate():
        pytest.skip("not for this Python")

    try:
        installed = version(requirement.name)
    except PackageNotFoundError:
        pytest.fail(f"{requirement.name} is not installed")

    assert requirement.specifier.contains(installed, prereleases=True)


@pytest.mark.parametrize("name", FLOORS)
def test_nothing_below_the_floor_may_be_installed(name: str) -> None:
    """Neither by asking for too little nor by an old pin."""
    floor = Version(FLOORS[name])
    asked = [each for each in ASKED_FOR if canonicalize_name(each.name) == name]
    lowest = [
        Version(each.version)
        for requirement in asked
        for each in requirement.specifier
        if each.operator in {">=", "==", "~="}
    ]
    pins = [pins[name] for lock in LOCKS if name in (pins := _pinned(lock))]

    assert [each for each in lowest + pins if each < floor] == []
    assert len(lowest) >= len(asked)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_lock_is_within_what_is_asked_for(lock: Path) -> None:
    """Else `make lock` was forgotten."""
    pinned = _pinned(lock)
    asked = [each for each in ASKED_FOR if canonicalize_name(each.name) in pinned]

    assert asked
    for requirement in asked:
        pin = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(pin, prereleases=True), f"{requirement} and {pin}"


def test_locks_pin_what_is_asked_for() -> None:
    """A dependency that no lock names is one that a new checkout lacks."""
    server = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    needed = {canonicalize_name(Requirement(each).name) for each in server}
    own = {"fieldsync", "fieldsync-server"}

    assert needed <= _pinned(ROOT / "requirements/server.lock").keys()
    everything = {canonicalize_name(each.name) for each in ASKED_FOR} - own
    assert everything <= _pinned(ROOT / "requirements/dev.lock").keys()
