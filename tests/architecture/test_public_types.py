"""The SDK's public types are complete: a checker of an app sees all of them, and sees them alike."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import fieldsync
import fieldsync.testing

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
MADE_BY_THE_SDK = {"fieldsync.issue.Issue.__init__", "fieldsync.collection.Collection.__init__"}


def list_symbols() -> list[dict[str, Any]]:
    """Return what `--verifytypes` says of each symbol of the package."""
    done = subprocess.run(  # noqa: S603  # our own checker
        [BIN / "basedpyright", "--verifytypes", "fieldsync", "--ignoreexternal", "--outputjson"],
        cwd=ROOT,
        # It looks for the package where the first Python of the path has it.
        env={**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    symbols: list[dict[str, Any]] = json.loads(done.stdout)["typeCompleteness"]["symbols"]
    return symbols


def is_below(name: str, parents: set[str]) -> bool:
    return any(name == parent or name.startswith(f"{parent}.") for parent in parents)


def test_every_public_type_is_known() -> None:
    """Inferred is not known: checkers infer differently."""
    exported = {
        f"{value.__module__}.{value.__qualname__}"
        for module in (fieldsync, fieldsync.testing)
        for name in module.__all__
        if hasattr(value := getattr(module, name), "__qualname__")
    }
    public = [
        symbol
        for symbol in list_symbols()
        if is_below(symbol["name"], exported) and symbol["name"] not in MADE_BY_THE_SDK
    ]

    unknown = [
        symbol["name"]
        for symbol in public
        if not symbol["isTypeKnown"] or symbol["isTypeAmbiguous"]
    ]
    assert unknown == []
    assert exported <= {symbol["name"] for symbol in public}
