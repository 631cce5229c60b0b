"""`python -m loadtests.bench`: how fast is a push, beside the least that it could cost?

    stage (PostgreSQL, floor, product) -> cases -> table, JSON -> verdict

Exit status: 0 done, 1 with --check when a target was missed, 2 a push failed or it could not run,
128 + n ended by a signal.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from backend.devstack.errors import DevstackError
from backend.devstack.signals import Stopped, orderly_signals
from loadtests.bench.cases import CASES, Case
from loadtests.bench.client import BenchFailed, clients

ROUNDS, ROWS = 5, 10_000
QUICK_ROUNDS, QUICK_ROWS = 2, 3_000
CANNOT_RUN = 2


def main(arguments: Sequence[str]) -> int:
    """Carry out the command line; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        with orderly_signals():
            return _run(options)
    except (BenchFailed, DevstackError, OSError) as error:
        print(error, file=sys.stderr)
        return CANNOT_RUN
    except Stopped as stop:
        print("Stopped; nothing is left running.", file=sys.stderr)
        return stop.exit_status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.bench",
        description="Measure pushes against a bare server that does the same durable work.",
    )
    parser.add_argument("--rounds", type=_count, help=f"rounds a case (default {ROUNDS})")
    parser.add_argument("--rows", type=_count, help=f"rows a run (default {ROWS:,})")
    parser.add_argument("--workers", type=_count, default=2, help="processes a server (default 2)")
    parser.add_argument("--case", action="append", choices=[c.name for c in CASES], help="only it")
    parser.add_argument("--quick", action="store_true", help="few rows and rounds: a first look")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    parser.add_argument("--target", type=float, help="ask this ratio of every case")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--profile", type=Path, metavar="FILE", help="profile the product instead")
    return parser


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 10_000_000:  # noqa: PLR2004  # more than a machine can take
        raise argparse.ArgumentTypeError("must be from 1 to 10000000")
    return number


def _run(options: argparse.Namespace) -> int:
    from loadtests.bench import report
    from loadtests.bench.measure import Bench
    from loadtests.bench.stage import set_stage

    rows = options.rows or (QUICK_ROWS if options.quick else ROWS)
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    chosen = _choose(options.case)
    console = Console(highlight=False)
    results = []
    with clients(max(case.clients for case in chosen)) as devices:
        with set_stage(workers=options.workers) as stage:
            bench = Bench(stage, devices, random.Random(1))
            for case in chosen:
                measured = list(bench.measure(case, rows=rows, rounds=rounds))
                target = options.target or case.target
                results.append(report.Figures(case=case, rounds=measured, target=target))
                print(case.title, results[-1].ratios, file=sys.stderr)
    report.show(results, console)
    if options.json:
        options.json.write_text(json.dumps(report.as_json(results), indent=1))
    return 1 if options.check and any(figures.is_missed for figures in results) else 0


def _choose(names: Sequence[str] | None) -> list[Case]:
    return [case for case in CASES if not names or case.name in names]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
