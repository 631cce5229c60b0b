"""How a bug is planted into the engine of this process, and taken out again."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import psycopg
from django.db import connection

Plant = Callable[[], None]

PAUSE_S: Final = 0.01  # between two steps that ought to be one: as long as a busy machine takes
_own = threading.local()
_swapped: list[tuple[Any, str, Any]] = []
_sessions: list[psycopg.Connection[tuple[Any, ...]]] = []


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """How it is planted; `disaster` is the one in which it shows, if it takes one."""

    plant: Plant
    disaster: str = ""


@contextlib.contextmanager
def planted(bug: Bug, pause: Callable[[], object]) -> Iterator[None]:
    """Plant a bug for a block; `pause` comes where two steps ought to be one."""
    swap(sys.modules[__name__], pause=pause)
    bug.plant()
    try:
        yield
    finally:
        while _swapped:
            setattr(*_swapped.pop())
        while _sessions:
            _sessions.pop().close()


def swap(whole: Any, **parts: Any) -> None:
    """Have these parts of a module or a class in place of its own."""
    for name, part in parts.items():
        _swapped.append((whole, name, getattr(whole, name)))
        setattr(whole, name, part)


def pause() -> None:
    """Let others come in between."""
    time.sleep(PAUSE_S)


def session() -> psycopg.Connection[tuple[Any, ...]]:
    """Return a session of this thread beside Django's, of the tables' owner."""
    held: psycopg.Connection[tuple[Any, ...]] | None = getattr(_own, "session", None)
    if held is None or held.closed:
        given = connection.get_connection_params()
        named = {name: given[name] for name in ("host", "port", "dbname", "user", "password")}
        held = psycopg.connect(**named, options="-c role=fieldsync_owner", autocommit=True)
        _own.session = held
        _sessions.append(held)
    return held
