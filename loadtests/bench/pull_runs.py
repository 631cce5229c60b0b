"""What the devices of a pull's case do; nothing is written, so that all runs do the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from loadtests.bench.cases import Kind, PullCase, Sizes
from loadtests.bench.client import Job, Work
from loadtests.bench.errors import BenchFailed
from loadtests.bench.filled import Filled, FilledTenants
from loadtests.bench.filling import total
from loadtests.bench.pulls import Pages, Poll, Stream, Summing
from loadtests.bench.stage import Side

SYNCS: Final = 2  # first syncs of a run
POLLS_A_CHANGED, POLLS_A_DIGEST = 5, 40  # what takes about as long as one of these
WARM_UPS: Final = 5  # pulls of the changed rows, or as many polls


class PullRuns:
    """Gives each device its work."""

    def __init__(self, tenants: FilledTenants, sizes: Sizes) -> None:
        self._tenants = tenants
        self._sizes = sizes

    def make_jobs(self, side: Side, case: PullCase) -> list[Job]:
        """Return the work of a run: as many devices, each with its share.

        Raises:
            BenchFailed: a side does not do what the case is about.
        """
        filled = self._tenants.get(case.filling)
        warm_up, works = choose_works(side.name, case, filled, self._sizes)
        return [
            Job(
                port=side.server.port,
                headers=side.make_headers(device),
                warm_up=warm_up,
                works=works,
            )
            for device in filled.devices[: case.clients]
        ]


def choose_works(
    side: str, case: PullCase, filled: Filled, sizes: Sizes
) -> tuple[Sequence[Work], Sequence[Work]]:
    """Return what each device does before the clock runs, and what while it runs.

    Raises:
        BenchFailed: a side does not do what the case is about.
    """
    cursor, held = filled.before[side].cursor, total(filled.held.values())
    changed = Pages(held=filled.changed, cursor=cursor)
    polls = max(1, sizes.polls // case.clients)
    match case.kind:
        case Kind.PAGES:
            return [changed] * WARM_UPS, [Pages(held=held)] * SYNCS
        case Kind.STREAM:
            warm_up = Stream(held=filled.changed, cursor=cursor, encoding=case.encoding)
            return [warm_up] * WARM_UPS, [Stream(held=held, encoding=case.encoding)] * SYNCS
        case Kind.CHANGED:
            return [changed] * WARM_UPS, [changed] * max(1, polls // POLLS_A_CHANGED)
        case Kind.POLL:
            poll = _make_poll(side, filled)
            return [poll] * WARM_UPS, [poll] * polls
        case Kind.DIGEST:
            summing = Summing(held=filled.held)
            return [summing], [summing] * max(1, polls // POLLS_A_DIGEST)


def _make_poll(side: str, filled: Filled) -> Poll:
    now = filled.now[side]
    if now.etag is None:
        message = f"the {side} gives its pages no ETag to ask again with"
        raise BenchFailed(message)
    return Poll(cursor=now.cursor, etag=now.etag)
