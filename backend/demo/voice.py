"""What the demo says while it runs: a line for each step, and a spinner with the progress."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status


class Voice:
    """Speaks to a console; without a terminal only the steps are printed."""

    def __init__(self, console: Console, status: Status) -> None:
        self.console = console
        self._status = status

    def say(self, text: str) -> None:
        """Begin a step."""
        self.console.print(f"· {text}")
        self.watch(text)

    def watch(self, text: str) -> None:
        """Show how far the step is."""
        self._status.update(text)


@contextmanager
def speaking(*, is_quiet: bool) -> Iterator[Voice]:
    """Speak for as long as the block lasts."""
    console = Console(quiet=is_quiet, highlight=False)
    with console.status("Starting") as status:
        yield Voice(console, status)
