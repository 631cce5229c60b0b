"""`docs/operate.md` against the commands that it describes."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from django.core.management import get_commands, load_command_class
from rest_framework_simplejwt.settings import api_settings

from sync.conf import sync_settings
from sync.findings import EXPLANATIONS, Kind, render_table
from sync.retention import CHUNK_ROWS, PRUNABLES

OURS = ("sync", "backend.tenants", "backend.jobs")
DOCS = (Path(__file__).parents[2] / "docs" / "operate.md").read_text()
SECTIONS = dict(re.findall(r"^## [^\n]*`manage\.py (\w+)`\n(.*?)(?=^## |\Z)", DOCS, re.M | re.S))
APPS = {name: app for name, app in get_commands().items() if app.startswith(OURS)}
COMMANDS = sorted(APPS)
LOGIN = api_settings.REFRESH_TOKEN_LIFETIME
OF_DJANGO = {
    "help", "version", "verbosity", "settings", "pythonpath", "traceback", "no_color",
    "force_color", "skip_checks",
}  # fmt: skip


def options_of(name: str) -> dict[str, Any]:
    parser = load_command_class(APPS[name], name).create_parser("manage.py", name)
    return {
        action.option_strings[0]: action.default
        for action in parser._actions
        if action.dest not in OF_DJANGO and action.option_strings
    }


def test_every_command_has_its_section() -> None:
    assert sorted(SECTIONS) == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_options_are_those_of_the_command(name: str) -> None:
    """Both ways: none missing, none invented, and numbers are the defaults."""
    rows = dict(re.findall(r"^\| `(--[a-z-]+)[^`]*` \| (.*) \|$", SECTIONS[name], re.M))
    options = options_of(name)

    assert rows.keys() == options.keys()
    for option, default in options.items():
        if isinstance(default, int) and not isinstance(default, bool):
            assert f"({default:,})" in rows[option]


def test_table_of_findings_is_that_of_the_code() -> None:
    """Word by word: `render_table()` gives the new text to paste."""
    assert render_table() in DOCS
    assert EXPLANATIONS.keys() == set(Kind)


def test_retention_is_said_rightly() -> None:
    assert f"({CHUNK_ROWS:,})" in SECTIONS["sync_prune"]
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", SECTIONS["sync_prune"], re.M))
    assert list(rows) == list(PRUNABLES)
    days = {f"`{name.upper()}`": value for name, value in asdict(sync_settings()).items()}
    days |= {"`REFRESH_TOKEN_DAYS`": LOGIN.days, "a year": 365, "a day": 1}
    for name, kept in rows.items():
        assert PRUNABLES[name].days() == days[kept]
