"""The campaign: random histories on everything real, while parts of it die; and the laws.

    python -m tests.faults.campaign --seed 7        2,000 histories, and what broke a law
    python -m tests.faults.campaign --bugs          how soon each planted bug is found

A history is a tenant with three phones on the real SDK, a bad link, and some dozen steps, drawn
from the seed and its number; two dozen are played at once, and in their middle a disaster may happen.
Exit status 1 when a law was broken, or a bug was not found.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Final

from backend.devstack.errors import DevstackError
from backend.devstack.server import ROOT
from loadtests.output import add_output, tell
from tests.faults.campaign import report
from tests.faults.campaign.disasters import DISASTERS, DISK
from tests.faults.campaign.hunt import hunt_all
from tests.faults.campaign.rounds import run, run_on_small_disk
from tests.faults.campaign.stage import SERVICES, set_stage

HISTORIES: Final = 2_000
ON_SMALL_DISK: Final = 48
NO_DISK: Final = "not tried: no disk can be mounted here"


def main(arguments: Sequence[str]) -> int:
    """Carry out the command line; the exit status."""
    options = _make_parser().parse_args(arguments)
    if options.list:
        sys.stdout.write(report.render_disasters())
        return 0
    try:
        figures = _play(options)
    except DevstackError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return tell(figures, report.render, options)


def _play(options: argparse.Namespace) -> dict[str, Any]:
    """Do what is asked for; return the figures."""
    if options.disaster == [DISK]:
        return run_on_small_disk(options.seed, options.histories) or {"ok": True, DISK: NO_DISK}
    with set_stage() as stage:
        if options.bugs is not None:
            return hunt_all(stage, options.bugs, options.seed)
        figures = run(
            stage, seed=options.seed, start=options.start, histories=options.histories,
            chosen=options.disaster or (), is_first=options.first,
        )  # fmt: skip
    if options.disaster is None and options.histories >= HISTORIES:
        _add_small_disk(figures, options.seed)
    return figures


def _add_small_disk(figures: dict[str, Any], seed: str) -> None:
    """Play some more in a process of their own: this one is bound to its database."""
    command = [
        *(sys.executable, "-m", "tests.faults.campaign", "--json", "--seed", seed),
        *("--disaster", DISK, "--histories", str(ON_SMALL_DISK)),
    ]
    environ = {name: value for name, value in os.environ.items() if name not in SERVICES}
    done = subprocess.run(  # noqa: S603  # our own
        command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True, check=False
    )
    found = json.loads(done.stdout)
    figures["disasters"][DISK] = found.get("histories", NO_DISK)
    figures["histories"] += found.get("histories", 0)
    figures["violations"] += found.get("violations", [])
    figures["ok"] = not figures["violations"]


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.campaign", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--seed", default="1", help="repeats what is drawn")
    parser.add_argument("--histories", type=int, default=HISTORIES, metavar="N")
    parser.add_argument("--start", type=int, default=0, metavar="N", help="the first one's number")
    parser.add_argument("--disaster", action="append", choices=list(DISASTERS), metavar="NAME",
                        help="only these; may be given several times (--list)")  # fmt: skip
    parser.add_argument("--list", action="store_true", help="list the disasters")
    parser.add_argument("--bugs", nargs="*", metavar="NAME",
                        help="find planted bugs: these, or all of them")  # fmt: skip
    parser.add_argument("--first", action="store_true", help="stop at the first violation")
    add_output(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
