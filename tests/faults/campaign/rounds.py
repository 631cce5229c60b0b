"""The campaign's rounds: which histories are played beside which disaster, and what they add up to."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from loadtests.output import say
from tests.faults.campaign.disasters import DISASTERS, DISK
from tests.faults.campaign.disk import small_disk
from tests.faults.campaign.history import History
from tests.faults.campaign.laws import violations
from tests.faults.campaign.play import play_round
from tests.faults.campaign.stage import Stage, set_stage

AT_ONCE: Final = 24
START: Final = 500_000  # numbers of histories that no other stage has
CALM_SHARE: Final = 0.4  # of the rounds: nothing but what the link does
SHOWN_MAX: Final = 10  # of violations, as they are found
GROWTH_MIB_MAX: Final = 60  # of a process that has served thousands more
SESSIONS_MORE_MAX: Final = 8


def run(
    stage: Stage,
    *,
    seed: str,
    start: int,
    histories: int,
    chosen: Sequence[str] = (),
    is_first: bool = False,
) -> dict[str, Any]:
    """Play histories, round after round; return the figures.

    Every disaster has its turn before any comes again; with some `chosen`, there are only those.
    """
    rng = random.Random(seed)  # repeatable
    possible = list(chosen or (name for name in DISASTERS if name != DISK))
    waiting: list[str] = []
    counts: Counter[str] = Counter()
    disasters: Counter[str] = Counter()
    found: list[str] = []
    drained_s: list[float] = []
    before: dict[str, int] = {}
    began = time.monotonic()
    for first in range(start, start + histories, AT_ONCE):
        waiting = waiting or rng.sample(possible, len(possible))
        is_calm = not chosen and rng.random() < CALM_SHARE
        disaster = "" if is_calm else waiting.pop()
        numbers = range(first, min(first + AT_ONCE, start + histories))
        for history in play_round(stage, numbers, seed, disaster):
            _count(history, counts)
            disasters[disaster or "link only"] += 1
            drained_s.append(history.drained_s)
            broken = [_told(history, each) for each in violations(history)]
            for each in broken[: max(0, SHOWN_MAX - len(found))]:
                say(each)
            found += broken
        before = before or stage.figures()
        say(
            f"{numbers.stop - start:>6,} of {histories:,} histories, {len(found)} violations "
            f"({disaster or 'link only'})"
        )
        if found and is_first:
            break
    after = stage.figures()
    found += [f"W11: {each}" for each in left_behind(before, after)]
    return {
        "seed": seed,
        "histories": sum(disasters.values()),
        "disasters": dict(sorted(disasters.items())),
        **dict(sorted(counts.items())),
        "seconds": round(time.monotonic() - began),
        "drained within s": round(max(drained_s), 1),
        "stage before": before,
        "stage after": after,
        "violations": found,
        "ok": not found,
    }


def run_on_small_disk(seed: str, histories: int) -> dict[str, Any] | None:
    """Play histories while the disk is full; None where no such disk can be had."""
    with small_disk() as disk:
        if disk is None:
            return None
        with set_stage(disk=disk) as stage:
            return run(stage, seed=seed, start=START, histories=histories, chosen=[DISK])


def _told(history: History, what: str) -> str:
    return f"history {history.number} ({history.disaster or 'link only'}): {what}"


def left_behind(before: dict[str, int], after: dict[str, int]) -> list[str]:
    """Return what did not come back to where it was."""
    bounds = {
        "open transactions": 0,
        "waiting locks": 0,
        "sessions": before["sessions"] + SESSIONS_MORE_MAX,
        "largest process MiB": before["largest process MiB"] + GROWTH_MIB_MAX,
    }
    return [
        f"{after[name]} {name}, of {before[name]} before"
        for name, bound in bounds.items()
        if after[name] > bound
    ]


def _count(history: History, counts: Counter[str]) -> None:
    counts["edits"] += len(history.written)
    counts["requests"] += len(history.exchanges)
    counts["committed changes"] += len(history.committed)
    counts["requests without an answer"] += sum(not each.status for each in history.exchanges)
    counts["answers given again"] += sum(each.is_replay for each in history.exchanges)
    counts["issues in the end"] += sum(len(each.issues) for each in history.replicas)
    for each in history.exchanges:
        if each.status:
            counts[f"status {each.status}"] += 1
