"""Listeners: who wants to know that rows have changed.

    COMMIT -> locks let go of -> each listener, in the thread that made the change

What a listener raises is logged, and never reaches the edit or the sync that it was told of.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping  # at run time: a field of a struct
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    Listener = Callable[["RowsChanged"], object]

log = logging.getLogger("fieldsync")


class Cause(StrEnum):
    """What changes rows."""

    EDIT = "edit"  # somebody at this device
    PULL = "pull"  # the server's changes
    ACK = "ack"  # the server has taken an edit
    ISSUE = "issue"  # the server has refused one, or an issue was settled


class RowsChanged(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that may not be as they were: the ids of each collection, and what did it."""

    by: Cause
    rows: Mapping[str, frozenset[str]]

    def only(self, collection: str) -> RowsChanged | None:
        """This, of one collection; None when it is not in it."""
        ids = self.rows.get(collection)
        return None if ids is None else RowsChanged(by=self.by, rows={collection: ids})


class Listeners:
    """The listeners of one store. Safe to share between threads."""

    def __init__(self) -> None:
        self._listeners: tuple[Listener, ...] = ()
        self._lock = threading.Lock()
        self._here = threading.local()

    @property
    def is_telling(self) -> bool:
        """Whether this thread is in a listener just now."""
        return getattr(self._here, "is_telling", False)

    def add(self, listener: Listener) -> Callable[[], None]:
        """Tell `listener` of changes from now on; returns what ends that."""

        def hear(change: RowsChanged) -> None:  # each time another: it may be added twice
            listener(change)

        with self._lock:
            self._listeners = (*self._listeners, hear)

        def end() -> None:
            with self._lock, suppress(ValueError):
                left = list(self._listeners)
                left.remove(hear)
                self._listeners = tuple(left)

        return end

    def tell(self, causes: Mapping[tuple[str, str], Cause]) -> None:
        """Say what changed: by (collection, id), one event for each cause."""
        if not self._listeners or not causes:
            return
        was_telling, self._here.is_telling = self.is_telling, True
        try:
            for change in _sort(causes):
                for listener in self._listeners:
                    _tell(listener, change)
        finally:
            self._here.is_telling = was_telling


def _sort(causes: Mapping[tuple[str, str], Cause]) -> list[RowsChanged]:
    found: dict[Cause, dict[str, set[str]]] = {}
    for (collection, row_id), cause in causes.items():
        found.setdefault(cause, {}).setdefault(collection, set()).add(row_id)
    return [
        RowsChanged(by=cause, rows={name: frozenset(ids) for name, ids in rows.items()})
        for cause, rows in found.items()
    ]


def _tell(listener: Listener, change: RowsChanged) -> None:
    try:
        listener(change)
    except Exception:
        log.exception("a listener failed, told of a change by %s", change.by)
