"""Output: one JSON document for programs, or tables and sentences for people.

    stdout   what was asked for: with --json one document and nothing else
    stderr   progress, questions, errors (with --json, errors are a document too)

Texts of rows are never read as markup. Colours follow the terminal, and NO_COLOR.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console
from rich.progress import Progress as Bars, TaskID
from rich.table import Table
from rich.text import Text

from fieldsync.machine import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rich.console import RenderableType

    from fieldsync.engine.report import Progress

PIPE_COLUMNS = 10_000  # in a file nothing is folded or cut
WORDS = {State.PUSHING: "Sending", State.PULLING: "Fetching", State.CHECKING: "Comparing"}
CELL_MAX = 60  # characters; --json and `show` have it all


class Output:
    """Where one command writes to."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        width = None if sys.stdout.isatty() else PIPE_COLUMNS
        self.console = Console(width=width, highlight=False, markup=False)
        self.errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

    def show(self, document: object, *parts: RenderableType) -> None:
        """Write `document`, or `parts` for people."""
        if self.as_json:
            self.write_json(document)
        else:
            for part in parts:
                self.console.print(part)

    def write_json(self, document: object, *, indent: int = 2) -> None:
        """Write a JSON document; on one line with an `indent` of 0 or less."""
        text = msgspec.json.format(msgspec.json.encode(document), indent=indent or -1)
        sys.stdout.write(text.decode() + "\n")
        sys.stdout.flush()

    @contextmanager
    def progress(self) -> Iterator[Callable[[Progress], None] | None]:
        """What a sync tells how far it is: bars, where somebody watches; else None."""
        if self.as_json or not self.errors.is_terminal:
            yield None
            return
        with Bars(console=self.errors, transient=True) as bars:
            yield Phases(bars).show

    def tell(self, sentence: str, style: str = "") -> None:
        """Say something that is not what was asked for."""
        self.errors.print(Text(sentence, style=style))


class Phases:
    """A bar for each phase of a sync."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[State, TaskID] = {}

    def show(self, progress: Progress) -> None:
        """Move the bar of the phase; of one without an end, only its count moves."""
        phase = progress.phase
        if phase not in self._tasks:
            self._tasks[phase] = self._bars.add_task(WORDS.get(phase, str(phase)), total=None)
        self._bars.update(
            self._tasks[phase],
            completed=progress.done,
            total=progress.total,
            description=f"{WORDS.get(phase, str(phase))} {progress.done:,}",
        )


def make_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A table; its cells are shortened to what can be read."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="ellipsis")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(shorten(cell)) for cell in row))
    return table


def make_facts(facts: Iterable[tuple[str, object]]) -> Table:
    """Names and values, one below the other, in full."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(Text(name), value if isinstance(value, Text) else Text(render_value(value)))
    return table


def render_value(value: object) -> str:
    """A value of a row as people read it: texts as they are, all else as JSON."""
    match value:
        case None:
            return "-"
        case str():
            return value
        case _:
            return msgspec.json.encode(value).decode()


def shorten(value: object) -> str:
    """`value` on one line, and not longer than a cell."""
    text = " ".join(render_value(value).split())
    return text if len(text) <= CELL_MAX else text[: CELL_MAX - 1] + "…"


def to_document(value: Any, **more: object) -> dict[str, Any]:
    """A dataclass as a JSON object, with `more` in it."""
    return {**msgspec.to_builtins(value), **more}
