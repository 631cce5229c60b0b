"""What long commands have in common: they say how far they are, and tell figures in the end."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any


def say(text: str) -> None:
    """Say how far it is, for people."""
    sys.stderr.write(f"· {text}\n")
    sys.stderr.flush()


def add_output(parser: ArgumentParser) -> None:
    """Let the command line choose what becomes of the figures."""
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write them there, too")


def tell(
    figures: dict[str, Any], render: Callable[[dict[str, Any]], str], options: Namespace
) -> int:
    """Print the figures, which say whether they are "ok"; return the exit status."""
    if options.save:
        options.save.write_text(json.dumps(figures, indent=2) + "\n")
        say(f"Saved in {options.save}")
    sys.stdout.write((json.dumps(figures) if options.json else render(figures)) + "\n")
    return 0 if figures["ok"] else 1
