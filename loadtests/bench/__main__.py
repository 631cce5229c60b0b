"""`python -m loadtests.bench`: how fast are pushes and pulls, beside the least they could cost?

    stage (PostgreSQL, floor, product) -> cases, round by round -> table, JSON -> verdict

Exit status: 0 done, 1 with --check when a target was missed, 2 it could not run or some work
failed, 128 + n ended by a signal.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console

from backend.devstack.errors import DevstackError
from backend.devstack.signals import Stopped, orderly_signals
from loadtests.bench.cases import CASES, AnyCase, DeviceCase, Sizes
from loadtests.bench.client import start_clients
from loadtests.bench.errors import BenchFailed

WORKERS: Final = 2
COUNTS: Final = (
    ("rounds", 5, 3, "rounds of a case"),
    ("rows", 8_000, 3_000, "rows that a run pushes"),
    ("filled", 50_000, 20_000, "rows that are there to pull"),
    ("large", 2_000_000, 200_000, "rows that are there in the large tenant"),
    ("polls", 1_500, 400, "polls of a run"),
)  # each with its default, and that of --quick
COUNT_MAX: Final = 10_000_000  # more than a machine can take
TABLE_COLUMNS: Final = 125  # where there is no terminal to fit into
CANNOT_RUN: Final = 2
SEED: Final = 1  # of the rows' texts


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
        description="Measure pushes and pulls beside a bare server that does the same work.",
    )
    names = [case.name for case in CASES]
    parser.add_argument(
        "--case", action="append", choices=names, help="measure only this; may be repeated"
    )
    for name, full, quick, what in COUNTS:
        default = f"default {full:,}; {quick:,} with --quick"
        parser.add_argument(f"--{name}", type=_count, help=f"{what} ({default})")
    parser.add_argument("--quick", action="store_true", help="a first look")
    parser.add_argument(
        "--workers", type=_count, default=WORKERS, help=f"processes a server (default {WORKERS})"
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    parser.add_argument(
        "--target", type=float, help="the least ratio of every case, instead of its own"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to FILE")
    parser.add_argument(
        "--profile",
        type=Path,
        metavar="FILE",
        help="instead, profile the product in the (first) case; .html, .json or text",
    )
    return parser


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= COUNT_MAX:
        raise argparse.ArgumentTypeError(f"must be from 1 to {COUNT_MAX}")
    return number


def _run(options: argparse.Namespace) -> int:
    for name, full, quick, _ in COUNTS:
        if getattr(options, name) is None:
            setattr(options, name, quick if options.quick else full)
    chosen = [case for case in CASES if not options.case or case.name in options.case]
    sizes = Sizes(rows=options.filled, large_rows=options.large, polls=options.polls)
    if options.profile:
        from loadtests.bench.profiling import write_profile

        if isinstance(chosen[0], DeviceCase):
            message = "A device's own work has no profile here: run cProfile on bench/device.py."
            raise BenchFailed(message)
        write_profile(options.profile, chosen[0], rows=options.rows, sizes=sizes)
        return 0
    return _measure(chosen, options, sizes)


def _measure(chosen: Sequence[AnyCase], options: argparse.Namespace, sizes: Sizes) -> int:
    from loadtests.bench import report
    from loadtests.bench.measure import Bench
    from loadtests.bench.stage import set_stage

    voice = Console(stderr=True, highlight=False)
    results = []
    with (
        voice.status("Starting the servers") as status,
        start_clients(max(case.clients for case in chosen)) as clients,
        set_stage(workers=options.workers) as stage,
    ):
        bench = Bench(stage, clients, random.Random(SEED), rows=options.rows, sizes=sizes)
        for case in chosen:
            voice.print(f"· {case.title}")
            measured = []
            for found in bench.measure(case, rounds=options.rounds):
                measured.append(found)
                status.update(f"{case.title}: {len(measured)} of {options.rounds} rounds")
            target = options.target or case.target
            results.append(report.Figures(case=case, rounds=measured, target=target))
    width = None if sys.stdout.isatty() else TABLE_COLUMNS
    report.show(results, Console(highlight=False, width=width))
    if options.json:
        options.json.write_text(json.dumps(report.as_json(results), indent=1))
    return 1 if options.check and any(figures.is_missed for figures in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
