"""Sync code, run from async code."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from asgiref.sync import sync_to_async

T = TypeVar("T")


async def run(work: Callable[[], T]) -> T:
    """Return what `work` returns, called in a thread that may use the database."""
    return await sync_to_async(work, thread_sensitive=True)()
