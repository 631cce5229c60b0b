"""Settings: how an engine behaves."""

from __future__ import annotations

from collections.abc import Callable, Iterable  # at run time: fields of a struct
from datetime import datetime
from random import Random

import msgspec

from fieldsync.retry import RetryPolicy
from fieldsync.wire import find_unsendable_name


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How an engine behaves. `now` is aware UTC; `rng` is for jitter, never for ids or keys."""

    retry: RetryPolicy
    push_rows_max: int
    rng: Random
    now: Callable[[], datetime]
    collections: tuple[str, ...] = ()  # what is synced; none: all
    check_s: float = 86_400.0  # so often the replica is compared with the server
    poll_s: float  # a client that syncs by itself asks so often, pokes or not
    settle_s: float = 1.0  # edits made in a row travel together
    offline_s_max: float = 300.0  # the longest wait before a link is tried again


def choose_collections(names: Iterable[str] | None) -> tuple[str, ...]:
    """The collections to sync, in one order; nothing for all of them.

    Raises: ValueError for no names at all, and for what is none.
    """
    if names is None:
        return ()
    chosen = tuple(sorted(set(names)))
    if not chosen or any(find_unsendable_name(name) or "," in name for name in chosen):
        raise ValueError(f"no names of collections: {chosen}")
    return chosen
