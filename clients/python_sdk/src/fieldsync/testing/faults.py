"""Faults: what a network does to one request."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """What can happen to one request."""

    CUT_BEFORE = "cut_before"  # never reaches the server
    LOST_ANSWER = "lost_answer"  # done, but nobody hears of it
    TRUNCATED = "truncated"  # done; the answer is cut
    DOUBLED = "doubled"  # the network delivers it twice
    HTML = "html"  # a captive portal answers 200
    GATEWAY = "gateway"  # a proxy's own 502
    BUSY = "busy"  # 503 + Retry-After
    LIMITED = "limited"  # 429 + Retry-After
    IN_FLIGHT = "in_flight"  # 409: the first try still runs
    EXPIRED = "expired"  # the access token has run out


@dataclass(frozen=True, slots=True)
class Cut:
    """The request is done, and the connection is lost after so many bytes of its answer."""

    after_bytes: int
