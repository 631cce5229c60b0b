"""Walkthrough: a page of the documentation, done as it is written, in an empty folder.

    ```python     its first line is `# name.py`: that file is written
    ```console    lines that begin with `$ ` are typed; below each is what it prints, `…` is anything

Other blocks are for the eye.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

COMMAND_S_MAX = 90
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NAME = re.compile(r"# (\w+\.py)\n")


@dataclass(frozen=True, slots=True)
class File:
    """A file to write."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Command:
    """A line to type, and what it prints."""

    line: str
    printed: str


def read_page(page: Path, replace: Mapping[str, str]) -> list[File | Command]:
    """Return what a reader of `page` does, in order, with parts of it replaced."""
    text = page.read_text()
    for old, new in replace.items():
        assert old in text
        text = text.replace(old, new)
    steps: list[File | Command] = []
    for language, block in BLOCK.findall(text):
        if language == "python":
            name = NAME.match(block)
            assert name, f"a file without a name: {block[:60]}"
            steps.append(File(name[1], block.removeprefix(name[0])))
        elif language == "console":
            steps += _read_commands(block)
    return steps


def _read_commands(block: str) -> list[Command]:
    first, *typed = re.split(r"^\$ ", block, flags=re.MULTILINE)
    assert not first, f"printed by nothing: {first}"
    parts = [each.partition("\n") for each in typed]
    return [Command(line, printed) for line, _, printed in parts]


def write_files(steps: list[File | Command], folder: Path) -> None:
    """Write all files."""
    for step in steps:
        if isinstance(step, File):
            (folder / step.name).write_text(step.text)


def walk(steps: list[File | Command], folder: Path, environ: Mapping[str, str]) -> None:
    """Do one step after the other. Raises: AssertionError where something else is printed."""
    for step in steps:
        if isinstance(step, File):
            (folder / step.name).write_text(step.text)
            continue
        done = subprocess.run(  # noqa: S603  # our own pages
            ["bash", "-c", step.line],  # noqa: S607  # whatever bash the reader has
            cwd=folder,
            env={**os.environ, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_S_MAX,
            check=False,
        )
        said = f"$ {step.line}\n{done.stdout}"
        assert done.returncode == 0, said
        assert is_as_printed(step.printed, done.stdout), f"{said}\ninstead of\n{step.printed}"


def is_as_printed(page: str, output: str) -> bool:
    """Whether `output` is what the page says; a `…` there stands for anything on one line."""
    pattern = ".*".join(map(re.escape, page.strip().split("…")))
    return re.fullmatch(pattern, output.strip()) is not None
