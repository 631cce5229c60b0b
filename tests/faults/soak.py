"""The soak: people work without a pause, and every five seconds something dies.

    python -m tests.faults.soak --minutes 15

In the end everything must be as it was in the beginning: memory, sessions, locks, and what the
tables take for a row; and every history is held to the laws of the campaign.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from backend.devstack.errors import DevstackError
from loadtests.output import add_output, say, tell
from tests.faults.campaign import report
from tests.faults.campaign.disasters import DISASTERS, DISK
from tests.faults.campaign.laws import violations
from tests.faults.campaign.play import RESTORES, play_round
from tests.faults.campaign.rounds import left_behind
from tests.faults.campaign.stage import Stage, set_stage

MINUTES: Final = 15.0
EVERY_S: Final = 5.0
AT_ONCE: Final = 12
BLOAT_MAX: Final = 2.0  # bytes for a row, times those of the beginning
# A restore takes work back, a small disk takes a stage of its own, and twenty seconds of standing
# still are four disasters' time: the campaign has them.
LEFT_OUT: Final = frozenset({RESTORES, DISK, "postgres stands still"})
TABLES: Final = ("sync_change", "sync_entry", "sync_request", "sync_stream", "work_order", "note")


class Disasters:
    """One after the other, drawn at random, in a thread; `counts` says how many of each."""

    def __init__(self, stage: Stage, rng: random.Random) -> None:
        self.counts: Counter[str] = Counter()
        self.errors: list[str] = []
        self._stage, self._rng = stage, rng
        self._over = threading.Event()

    @contextmanager
    def happening(self) -> Iterator[None]:
        """Let them happen during the block."""
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _run(self) -> None:
        names = sorted(DISASTERS.keys() - LEFT_OUT)
        while not self._over.wait(EVERY_S):
            name = self._rng.choice(names)
            try:
                with self._stage.calm:
                    DISASTERS[name](self._stage, self._rng)
                    self._stage.wait_until_well()  # a database may be recovering still
                self.counts[name] += 1
            except Exception:
                self.errors.append(f"{name}: {traceback.format_exc()}")


def run(stage: Stage, *, seed: str, minutes: float) -> dict[str, Any]:
    """Soak it; return the figures."""
    disasters = Disasters(stage, random.Random(seed))  # repeatable
    found: list[str] = []
    played = edits = 0
    list(play_round(stage, range(AT_ONCE), seed))  # warm: what stays for good is there
    before = measure(stage)
    began = time.monotonic()
    with disasters.happening():
        number = AT_ONCE
        while time.monotonic() - began < minutes * 60:
            for history in play_round(stage, range(number, number + AT_ONCE), seed):
                found += [f"history {history.number}: {each}" for each in violations(history)]
                edits += len(history.written)
                played += 1
            number += AT_ONCE
            say(
                f"{time.monotonic() - began:>5.0f} s, {played} histories, "
                f"{disasters.counts.total()} disasters, {len(found)} violations"
            )
    stage.wait_until_well()
    after = measure(stage)
    found += [f"W11: {each}" for each in left_behind(before, after)]
    found += [
        f"W11: {name} takes {after[name]} bytes a row, {before[name]} before"
        for name in TABLES
        if after[name] > before[name] * BLOAT_MAX
    ]
    found += [f"disaster: {each}" for each in disasters.errors]
    return {
        "seed": seed,
        "minutes": round((time.monotonic() - began) / 60, 1),
        "histories": played,
        "edits": edits,
        "disasters": dict(sorted(disasters.counts.items())),
        "before": before,
        "after": after,
        "violations": found,
        "ok": not found,
    }


def measure(stage: Stage) -> dict[str, int]:
    """Return what must come back: the stage's figures, and bytes a row of each table."""
    figures = stage.figures()
    with stage.connect() as session:
        for table in TABLES:
            session.execute(f"VACUUM {table}")
            size = session.execute(
                f"SELECT pg_total_relation_size('{table}') / greatest(count(*), 1) FROM {table}"  # a constant
            ).fetchone()
            figures[table] = int(str(size[0])) if size else 0
    return figures


def main(arguments: Sequence[str]) -> int:
    """Carry out the command line; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.soak", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--minutes", type=float, default=MINUTES, metavar="N")
    parser.add_argument("--seed", default="1", help="repeats what is drawn")
    add_output(parser)
    options = parser.parse_args(arguments)
    try:
        with set_stage() as stage:
            figures = run(stage, seed=options.seed, minutes=options.minutes)
    except DevstackError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return tell(figures, report.render, options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
