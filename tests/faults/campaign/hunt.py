"""The hunt: how many histories it takes to find a planted bug, in the server or in the SDK."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Final

import pytest

from loadtests.output import say
from tests.faults.campaign.disasters import DISASTERS, DISK
from tests.faults.campaign.laws import violations
from tests.faults.campaign.play import play_round
from tests.faults.campaign.stage import Stage

AT_ONCE: Final = 12
HISTORIES_MAX: Final = 600
DRAIN_S: Final = 8.0  # what does not drain by then has a reason
# Of those that the SDK's own laws find, the ones that need no backup and no death between two
# statements of its store.
IN_SDK: Final = (
    "an entry is dropped before its ack",
    "an ack covers the row, not the revision that was sent",
    "an edit joins the one that is on its way",
    "a refused mutation vanishes in silence",
    "a retry has a new key",
    "a retry is rendered anew",
    "a pull moves the base of a pending edit",
    "a pull overwrites a pending edit",
    "a cursor is saved before its page",
    "a row that left takes the edit of it along",
)
_numbers = itertools.count(1_000_000)  # of histories: no two tenants of a stage have one name


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What gave a bug away, after how many histories; `law` is empty if nothing did."""

    bug: str
    place: str
    histories: int
    law: str
    what: str


def list_bugs() -> dict[str, str]:
    """Return the names of all planted bugs, and whether they are in the server or in the SDK."""
    from tests.faults.campaign import server_bugs  # needs Django

    return dict.fromkeys(server_bugs.BUGS, "server") | dict.fromkeys(IN_SDK, "SDK")


def hunt_all(stage: Stage, bugs: Sequence[str], seed: str) -> dict[str, Any]:
    """Hunt for these bugs, or for all; return the figures."""
    names = list(bugs or list_bugs())
    if unknown := sorted(set(names) - list_bugs().keys()):
        message = f"there is no planted bug {unknown[0]!r}"
        raise SystemExit(message)
    found = []
    for name in names:
        each = hunt(stage, name, seed)
        found.append(dataclasses.asdict(each))
        say(f"{name}: {each.law or 'NOT FOUND'} after {each.histories} histories")
    return {"seed": seed, "bugs": found, "ok": all(each["law"] for each in found)}


def hunt(stage: Stage, bug: str, seed: str) -> Found:
    """Play histories with the bug planted, until one breaks a law."""
    rng = random.Random(f"{seed} {bug}")  # repeatable
    place = list_bugs()[bug]
    with _planted(stage, bug, place) as disaster:
        tried = 0
        while tried < HISTORIES_MAX:
            numbers = list(itertools.islice(_numbers, AT_ONCE))
            drawn = disaster or (
                rng.choice(sorted(DISASTERS.keys() - {DISK})) if rng.random() < 0.3 else ""
            )
            for history in play_round(stage, numbers, f"{seed} {bug}", drawn, drain_s=DRAIN_S):
                tried += 1
                for what in violations(history):
                    law, _, text = what.partition(": ")
                    return Found(bug=bug, place=place, histories=tried, law=law, what=text)
    return Found(bug=bug, place=place, histories=tried, law="", what="")


@contextmanager
def _planted(stage: Stage, bug: str, place: str) -> Iterator[str]:
    """Plant a bug for the block; gives the disaster in which it shows, if it takes one."""
    from tests.faults.campaign import server_bugs

    if place == "server":
        stage.plant(bug)
        yield server_bugs.BUGS[bug].disaster
        return
    stage.plant("")
    with pytest.MonkeyPatch.context() as patch:
        # By its own name it is a module of the SDK's tests, which type checkers know it as.
        import_module("tests.sdk.planted").BUGS[bug].plant(patch)
        yield ""
