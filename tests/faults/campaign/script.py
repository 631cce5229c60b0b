"""A script: who does what in a history, and what the link does to it. Pure: a seed gives it."""

from __future__ import annotations

import dataclasses
import random
from typing import Final

from sync.testing.faulty_link import FaultRates

# (a dispatcher, a technician) -> how often a step comes
SHARES: Final = {
    "edit": (5, 7),
    "create": (2, 3),
    "note": (1, 2),
    "visit": (1, 2),
    "delete": (4, 0),
    "move": (3, 0),
    "settle": (2, 2),
    "sync": (6, 6),
    "meanwhile": (3, 5),
    "die": (1, 2),
}
LINKS: Final = {
    "good": FaultRates(),
    "lossy": FaultRates(
        answer_lost=0.15, cut_before=0.06, request_cut=0.08, answer_truncated=0.1, delayed=0.05,
        delay_s_max=0.1,
    ),
    "confused": FaultRates(doubled=0.2, late=0.15, delayed=0.1, slow=0.05, delay_s_max=0.3),
    "dead": FaultRates(answer_lost=0.45, cut_before=0.1, answer_truncated=0.1, stalled=0.005),
}  # fmt: skip
STEPS_MIN, STEPS_MAX = 5, 11
NUMBER_MAX: Final = 1_000_000
CLOCKS_DAYS: Final = (0, 0, 0, 0, 1, -1, -9_000, 20_000)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What is done, and a number to choose from whatever there is then."""

    what: str
    number: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """The steps of each device; `clocks` are how many days their clocks are off."""

    seed: str
    is_shared: bool  # the technician has two devices, in place of a colleague elsewhere
    link: str
    clocks: list[int]
    steps: list[list[Step]]


def draw_script(seed: str) -> Script:
    """Return the script of a history."""
    rng = random.Random(seed)  # repeatable
    columns = [1, 1, 0]
    return Script(
        seed=seed,
        is_shared=rng.random() < 0.6,
        link=rng.choice([*LINKS, "lossy", "confused"]),
        clocks=[rng.choice(CLOCKS_DAYS) for _ in columns],
        steps=[_draw_steps(rng, column) for column in columns],
    )


def _draw_steps(rng: random.Random, column: int) -> list[Step]:
    names = list(SHARES)
    weights = [SHARES[name][column] for name in names]
    drawn = rng.choices(names, weights, k=rng.randint(STEPS_MIN, STEPS_MAX))
    return [Step(what=name, number=rng.randrange(NUMBER_MAX)) for name in drawn]
