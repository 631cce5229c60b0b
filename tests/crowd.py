"""Run the same thing in many threads at once, each with a database connection of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from django.db import connections

T = TypeVar("T")
WAIT_S = 120  # a test that hangs fails; it does not block the suite


def at_once(works: Sequence[Callable[[], T]]) -> list[T]:
    """Start all `works` behind one barrier; return their results, or raise the first error."""
    barrier = threading.Barrier(len(works))
    results: dict[int, T] = {}
    errors: list[BaseException] = []

    def run(position: int) -> None:
        try:
            barrier.wait(WAIT_S)
            results[position] = works[position]()
        except BaseException as error:  # handed to the test's own thread
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive(), "a thread hangs"
    if errors:
        raise errors[0]
    return [results[n] for n in range(len(works))]
