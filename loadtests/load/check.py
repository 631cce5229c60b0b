"""`python -m loadtests.load.check`: the storm against the floor, held to what is committed.

Ratios of one run, so that the machine counts little: speed and CPU against the floor's. What is
committed says on which machine it was measured. Exit status 1 when it has become worse than the
noise explains, or misses its target; `--write` commits to what was measured now.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from backend.devstack.errors import DevstackError
from loadtests.bench.errors import BenchFailed
from loadtests.load.against_floor import ROUNDS, measure
from loadtests.output import add_output, tell

BASELINE: Final = Path(__file__).parents[1] / "baselines" / "storm.json"
NOISE: Final = 0.25  # two runs on a quiet machine differ by half of it
SPEED_MIN: Final = 0.4  # of the floor
MEMORY_MIB_MAX: Final = 238  # of all processes: 250 MB


def main(arguments: Sequence[str]) -> int:
    """Carry out the command line; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.load.check", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of both, in turn")
    parser.add_argument("--write", action="store_true", help="make this the baseline")
    add_output(parser)
    options = parser.parse_args(arguments)
    try:
        found = measure(options.rounds)
    except (BenchFailed, DevstackError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if options.write:
        BASELINE.write_text(json.dumps(found, indent=2) + "\n")
    baseline = json.loads(BASELINE.read_text())
    worse = find_worse(found, baseline)
    figures = {**found, "worse": worse, "ok": not worse}
    return tell(figures, lambda figures: render(figures, baseline), options)


def find_worse(found: dict[str, Any], baseline: dict[str, Any]) -> list[str]:
    """Return what misses its target, or has become worse than the baseline; pure."""
    bounds = [
        ("speed", max(SPEED_MIN, baseline["speed"] * (1 - NOISE)), False),
        ("cpu", baseline["cpu"] * (1 + NOISE), True),
        ("largest_process_mib", baseline["largest_process_mib"] * (1 + NOISE), True),
        ("memory_mib", MEMORY_MIB_MAX, True),
    ]
    return [
        f"{name} is {found[name]}, and may be at {'most' if is_most else 'least'} {bound:.2f}"
        for name, bound, is_most in bounds
        if (found[name] > bound if is_most else found[name] < bound)
    ]


def render(found: dict[str, Any], baseline: dict[str, Any]) -> str:
    """Return the figures for people."""
    names = {
        "speed": "speed of the floor's",
        "cpu": "CPU, times the floor's",
        "memory_mib": "memory of all processes, MiB",
        "largest_process_mib": "largest process, MiB",
    }
    lines = [f"  {'':<30} {'now':>8} {'baseline':>10}"]
    lines += [f"  {text:<30} {found[n]:>8} {baseline[n]:>10}" for n, text in names.items()]
    worse = found["worse"]
    return "\n".join([*lines, *worse, "WORSE" if worse else "as good as the baseline"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
