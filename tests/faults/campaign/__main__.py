"""The campaign: random histories on everything real, while parts of it die; and the laws.

    python -m tests.faults.campaign --seed 7 --histories 2000

A history is a tenant with three phones, a bad link, and some dozen steps, drawn from the seed and
its number. Exit status 1 when a law was broken; what was broken is printed with what repeats it.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from backend.devstack.errors import DevstackError
from tests.faults.campaign.disasters import DISASTERS
from tests.faults.campaign.history import History
from tests.faults.campaign.laws import violations
from tests.faults.campaign.play import play_round
from tests.faults.campaign.stage import Stage, set_stage

HISTORIES: Final = 2_000
AT_ONCE: Final = 12
CALM_SHARE: Final = 0.4  # of the rounds: nothing but what the link does
SHOWN_MAX: Final = 20
QUIET: Final = ""


def main(arguments: Sequence[str]) -> int:
    """Carry out the command line; the exit status."""
    options = _make_parser().parse_args(arguments)
    if options.list:
        for name, work in DISASTERS.items():
            sys.stdout.write(f"{name:<26} {(work.__doc__ or '').splitlines()[0]}\n")
        return 0
    try:
        with set_stage(bug=options.bug) as stage:
            figures = run(stage, options)
    except DevstackError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if options.save:
        options.save.write_text(json.dumps(figures, indent=2) + "\n")
    sys.stdout.write((json.dumps(figures) if options.json else _render(figures)) + "\n")
    return 0 if figures["ok"] else 1


def run(stage: Stage, options: argparse.Namespace) -> dict[str, Any]:
    """Play all histories, round after round; return the figures."""
    rng = random.Random(options.seed)  # repeatable
    chosen = options.disaster or list(DISASTERS)
    waiting: list[str] = []
    counts: Counter[str] = Counter()
    disasters: Counter[str] = Counter()
    found: list[str] = []
    drained_s: list[float] = []
    began = time.monotonic()
    before: dict[str, int] = {}
    for start in range(options.start, options.start + options.histories, AT_ONCE):
        waiting = waiting or rng.sample(chosen, len(chosen))
        is_calm = not options.disaster and rng.random() < CALM_SHARE
        disaster = QUIET if is_calm else waiting.pop()
        numbers = range(start, min(start + AT_ONCE, options.start + options.histories))
        histories = play_round(stage, numbers, options.seed, disaster)
        disasters[disaster or "link only"] += len(histories)
        for history in histories:
            _count(history, counts)
            drained_s.append(history.drained_s)
            found += [
                f"history {history.number} ({disaster or 'link only'}): {each}"
                for each in violations(history)
            ]
        before = before or stage.figures()
        _say(f"{numbers.stop:>6,} histories, {len(found)} violations ({disaster or 'link only'})")
        if found and options.first:
            break
    return {
        "seed": options.seed,
        "histories": sum(disasters.values()),
        "seconds": round(time.monotonic() - began),
        "disasters": dict(sorted(disasters.items())),
        **dict(sorted(counts.items())),
        "drained_s_max": round(max(drained_s), 1),
        "before": before,
        "after": stage.figures(),
        "violations": found,
        "ok": not found,
    }


def _count(history: History, counts: Counter[str]) -> None:
    counts["edits"] += len(history.written)
    counts["requests"] += len(history.exchanges)
    counts["committed changes"] += len(history.committed)
    counts["requests without an answer"] += sum(not each.status for each in history.exchanges)
    counts["answers given again"] += sum(each.is_replay for each in history.exchanges)
    counts["issues in the end"] += sum(len(each.issues) for each in history.replicas)
    for each in history.exchanges:
        counts[f"status {each.status}"] += 1


def _render(figures: dict[str, Any]) -> str:
    lines = []
    for name, value in figures.items():
        if name == "violations":
            continue
        shown = (
            ", ".join(f"{k} {v:,}" for k, v in value.items()) if isinstance(value, dict) else value
        )
        lines.append(
            f"  {name:<28} {shown:,}" if isinstance(shown, int) else f"  {name:<28} {shown}"
        )
    found = figures["violations"]
    lines += found[:SHOWN_MAX]
    if len(found) > SHOWN_MAX:
        lines.append(f"… and {len(found) - SHOWN_MAX} more")
    lines.append("0 violations" if not found else f"{len(found)} VIOLATIONS")
    return "\n".join(lines)


def _say(text: str) -> None:
    sys.stderr.write(f"· {text}\n")
    sys.stderr.flush()


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.campaign", description=__doc__)
    parser.add_argument("--seed", default="1", help="repeats what is drawn")
    parser.add_argument("--histories", type=int, default=HISTORIES, metavar="N")
    parser.add_argument("--start", type=int, default=0, metavar="N", help="the first one's number")
    parser.add_argument("--disaster", action="append", choices=list(DISASTERS), metavar="NAME",
                        help="only these; may be given several times (--list)")  # fmt: skip
    parser.add_argument("--list", action="store_true", help="list the disasters")
    parser.add_argument("--bug", default="", metavar="NAME", help="plant this bug in the server")
    parser.add_argument("--first", action="store_true", help="stop at the first violation")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write them there, too")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
