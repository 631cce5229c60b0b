"""`python -m backend.demo`: devices work offline, come back at once, and everything adds up.

    stage -> first sync -> a day offline -> reconnect over a bad link -> figures -> proof

Exit status: 0 proven, 1 a difference was found or it could not run, 128 + n ended by a signal.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from backend.demo import figures
from backend.demo.device import Device
from backend.demo.stage import FAULTS, Stage, choose_data, set_stage
from backend.demo.voice import speaking
from backend.devstack.errors import DevstackError
from backend.devstack.signals import Stopped, orderly_signals


def main(arguments: Sequence[str]) -> int:
    """Carry out the command line; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        with orderly_signals():
            return _run(options)
    except (DevstackError, OSError) as error:
        print(error, file=sys.stderr)  # noqa: T201  # the command's own voice
        return 1
    except Stopped as stop:
        print("Stopped; nothing is left running.", file=sys.stderr)  # noqa: T201
        return stop.exit_status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m backend.demo",
        description="Devices work offline, come back at once over a bad link; then it is proven "
        "that nothing was lost and nothing doubled.",
    )
    parser.add_argument("--devices", type=_count, default=8, help="devices (default 8)")
    parser.add_argument(
        "--rows", type=_count, default=200, help="new jobs a device writes down (default 200)"
    )
    parser.add_argument(
        "--data", type=Path, help="a CSV of the Open Repair Alliance (default: real or generated)"
    )
    parser.add_argument("--seed", type=int, default=1, help="same seed, same work and faults")
    parser.add_argument("--faults", choices=FAULTS, default="heavy", help="how bad the link is")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON only")
    return parser


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 100_000:  # noqa: PLR2004  # more than one machine can play
        raise argparse.ArgumentTypeError("must be from 1 to 100000")
    return number


def _run(options: argparse.Namespace) -> int:
    data = choose_data(options.data)
    with (
        speaking(is_quiet=options.json) as voice,
        set_stage(devices=options.devices, data=data, seed=options.seed, voice=voice) as stage,
    ):
        from backend.demo.story import play

        devices = _make_devices(stage, options.seed)
        try:
            found, differences = play(stage, devices, options, voice)
        finally:
            for device in devices:
                device.client.close()
    return _tell(found, differences, options)


def _make_devices(stage: Stage, seed: int) -> list[Device]:
    return [
        Device(
            username=technician.username,
            url=stage.link.url,
            store=stage.folder / f"{technician.username}.db",
            rng=random.Random(f"{seed} {technician.username}"),  # noqa: S311  # repeatable work
        )
        for technician in stage.technicians
    ]


def _tell(found: dict[str, Any], differences: list[str], options: argparse.Namespace) -> int:
    shown = figures.first(differences)
    if options.json:
        document = {**found, "seed": options.seed, "ok": not differences, "differences": shown}
        print(json.dumps(document))  # noqa: T201  # the command's own voice
        return 1 if differences else 0
    console = Console(highlight=False)
    figures.show(found, console)
    for line in shown:
        console.print(f"DIFFERENCE {line}", markup=False)
    if not differences:
        console.print("all replicas equal the server")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
