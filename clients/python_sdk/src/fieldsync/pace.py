"""Pace: how much goes into the next batch, by how the last ones went. Pure.

quick and full -> twice as much, up to the limits      slow, or in trouble -> half, down to one row

A lost answer costs a batch sent twice: on a bad link small ones get through sooner.
"""

from __future__ import annotations

import msgspec

ROWS_FIRST = 100  # before anything is known of the link
BYTES_FIRST = 256 * 1024
BYTES_MIN = 16 * 1024  # a handful of packets, as good as one row
BYTES_MAX = 4 * 1024 * 1024  # half of what a server takes unless it says otherwise
QUICK_S = 2.0  # a user who watches waits so long
SLOW_S = 10.0  # a third of the time-out: the next slowdown must not end in it


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """The most that goes into one batch."""

    rows: int = ROWS_FIRST
    bytes: int = BYTES_FIRST


def next_pace(
    pace: Pace, *, sent_rows: int, sent_bytes: int, took_s: float, is_troubled: bool
) -> Pace:
    """The pace after a batch of so much took so long, or was troubled by failures on the way."""
    if is_troubled or took_s > SLOW_S:
        return Pace(rows=max(1, pace.rows // 2), bytes=max(BYTES_MIN, pace.bytes // 2))
    is_full = sent_rows >= pace.rows or 2 * sent_bytes >= pace.bytes
    if took_s <= QUICK_S and is_full:
        return Pace(rows=pace.rows * 2, bytes=min(BYTES_MAX, pace.bytes * 2))
    return pace


def bound_pace(pace: Pace, *, rows_max: int, bytes_max: int | None = None) -> Pace:
    """`pace` within the limits of the app and of the server; never less than a row."""
    return Pace(
        rows=max(1, min(pace.rows, rows_max)),
        bytes=max(1, pace.bytes if bytes_max is None else min(pace.bytes, bytes_max)),
    )
