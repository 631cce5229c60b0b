"""`python -m loadtests.load PROFILE`: a crowd against a real server, and what came of every row.

    services -> tables -> people -> server -> Locust -> the tables against what devices were told

Sends to this machine alone, is bounded in count and time, and ends what it started. Exit status 1
when a row was lost or doubled, a device gave up, or the server failed.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from backend.devstack.errors import DevstackError
from backend.devstack.server import ROOT, start_server
from loadtests.load import report
from loadtests.load.arrival import draw_arrivals
from loadtests.load.plan import DevicePlan, Plan, read_told, write_plan
from loadtests.load.profile import Profile, ProfileInvalid, list_names, read_profile
from loadtests.load.watch import Watch
from loadtests.output import add_output, say, tell

if TYPE_CHECKING:
    from backend.devstack.stack import Stack

LOCUSTFILE: Final = ROOT / "loadtests" / "locustfile.py"
# One device stands for one person, but all come from one address.
RATES: Final = "login=900000000/1s"


def main(arguments: Sequence[str]) -> int:
    """Carry out the command line; the exit status."""
    options = _make_parser().parse_args(arguments)
    if options.list:
        for name in list_names():
            sys.stdout.write(f"{name:<10} {read_profile(name).about}\n")
        return 0
    changes = {"devices": options.devices} if options.devices else {}
    try:
        profile = read_profile(options.profile, **changes)
        figures = run(profile, seed=options.seed, plot=options.plot)
    except (ProfileInvalid, DevstackError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return tell(figures, report.render, options)


def run(profile: Profile, *, seed: int, plot: Path | None = None) -> dict[str, Any]:
    """Let a profile's crowd come; return the figures.

    Raises:
        DevstackError: something is missing or did not start.
    """
    from loadtests.bench.stage import ENVIRON, OPTIONS, prepared_database

    say("Starting PostgreSQL and Valkey; making tables and people")
    with prepared_database() as stack, ExitStack() as cleanup:
        devices = _make_devices(profile, random.Random(seed))  # repeatable
        server = start_server(
            environ={**stack.environ, **ENVIRON, "THROTTLE_RATES": RATES},
            log=stack.folder / "server.log",
            workers=profile.workers,
            options=OPTIONS,
        )
        cleanup.callback(server.stop)
        plan = Plan(
            url=server.url,
            told_path=stack.folder / "told.json",
            devices=devices,
            at_once_max=profile.at_once_max,
            push_rows=profile.push_rows,
            batch_rows=profile.batch_rows,
            first_sync=profile.first_sync,
            rounds=profile.rounds,
            polls=profile.polls,
            poll_s=profile.poll_s,
        )
        say(f"{profile.about} {profile.devices} devices, {profile.workers} processes")
        began = time.monotonic()
        with Watch(server.child.pid) as watch:
            _run_locust(plan, profile, stack)
        return _conclude(profile, plan, watch, stack, time.monotonic() - began, plot)


def _conclude(  # what a run leaves behind
    profile: Profile, plan: Plan, watch: Watch, stack: Stack, seconds: float, plot: Path | None
) -> dict[str, Any]:
    from loadtests.load.verdict import judge

    told = read_told(plan.told_path)
    verdict = judge(told, stack.postgres.owner_url)
    if plot:
        report.draw(stack.folder / "load_stats_history.csv", watch, plot, profile.about)
        say(f"Drawn in {plot}")
    return report.collect(profile, told, verdict, watch, seconds)


def _make_devices(profile: Profile, rng: random.Random) -> list[DevicePlan]:
    """Make the tenants, their people, and what they hold already."""
    from loadtests.bench.senders import make_senders
    from sync import local_edits

    share, more = divmod(profile.devices, profile.tenants)
    senders = []
    for number in range(profile.tenants):
        of_tenant = make_senders(f"load-{number}", devices=share + (number < more))
        held = [
            local_edits.create(
                "work_orders",
                {"kind": "repair", "site": rng.choice(of_tenant[0].sites), "title": f"held {n}"},
            )
            for n in range(profile.held_rows)
        ]
        for start in range(0, len(held), 1_000):
            local_edits.apply(UUID(of_tenant[0].tenant), held[start : start + 1_000])
        senders += of_tenant
    rng.shuffle(senders)
    arrivals = draw_arrivals(profile, rng)
    return [
        DevicePlan(
            device=sender.device,
            token=sender.token,
            sites=list(sender.sites),
            comes_s=comes_s,
            seed=rng.getrandbits(32),
        )
        for sender, comes_s in zip(senders, arrivals, strict=True)
    ]


def _run_locust(plan: Plan, profile: Profile, stack: Stack) -> None:
    path = stack.folder / "plan.json"
    write_plan(plan, path)
    count = str(len(plan.devices))
    command = [
        *(sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--only-summary"),
        *("--users", count, "--spawn-rate", count, "--run-time", f"{profile.time_s_max:g}s"),
        *("--csv", str(stack.folder / "load"), "--csv-full-history", "--loglevel", "WARNING"),
    ]
    log = stack.folder / "locust.log"
    with log.open("wb") as output:
        done = subprocess.run(  # noqa: S603  # our own
            command, cwd=ROOT, env={**os.environ, "LOAD_PLAN": str(path)},
            stdout=output, stderr=output, timeout=profile.time_s_max + 120, check=False,
        )  # fmt: skip
    if not plan.told_path.exists():
        message = f"Locust ended with {done.returncode}:\n{log.read_text()[-3_000:]}"
        raise SystemExit(message)


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtests.load", description=__doc__)
    parser.add_argument("profile", nargs="?", default="monday", help="its name (--list)")
    parser.add_argument("--list", action="store_true", help="list the profiles")
    parser.add_argument("--devices", type=int, metavar="N", help="another number of devices")
    parser.add_argument("--seed", type=int, default=1, help="repeats who comes when, with what")
    add_output(parser)
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the run over time")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
