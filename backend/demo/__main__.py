"""`python -m backend.demo`: devices work offline, come back at once, and everything adds up.

    stage -> first sync -> a day offline -> reconnect over a bad link -> figures -> proof

Exit status: 0 proven, 1 a difference was found or it could not run, 128 + n ended by a signal.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from backend.demo import figures, proof
from backend.demo.device import Device
from backend.demo.fleet import drain, everywhere
from backend.demo.stage import FAULTS, Stage, choose_data, set_stage
from backend.devstack.errors import DevstackError
from backend.devstack.signals import Stopped, orderly_signals
from sync.types import RowKey

SHARED_ROWS = 40  # work orders that several devices edit
RESOLVING_ROUNDS = 2  # times that people look at their conflicts


def main(arguments: Sequence[str]) -> int:
    """Carry out the command line; return the exit status."""
    options = _parser().parse_args(arguments)
    console = Console(stderr=options.json, quiet=options.json, highlight=False)
    try:
        with orderly_signals():
            return _run(options, console)
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
        "--rows", type=_count, default=250, help="new jobs a device writes down (default 250)"
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


def _run(options: argparse.Namespace, console: Console) -> int:
    data = choose_data(options.data)
    with set_stage(
        devices=options.devices,
        data=data,
        seed=options.seed,
        faults=options.faults,
        say=lambda text: console.print(f"· {text}"),
    ) as stage:
        devices = _make_devices(stage, options.seed)
        found, differences = _play(stage, devices, options, console)
        for device in devices:
            device.client.close()
    return _tell(found, differences, options, console)


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


def _play(
    stage: Stage, devices: list[Device], options: argparse.Namespace, console: Console
) -> tuple[dict[str, Any], list[str]]:
    """Let the story happen; return its figures and the differences that the proof found."""
    _step("First sync of all devices", devices, Device.begin, console)
    edits_before = proof.count_edits(proof.read_truth(stage.tenant_id), stage.tenant_id)
    _work_offline(stage, devices, options, console)
    for device in devices:  # the figures are those of coming back
        made, device.ledger = device.ledger.made, type(device.ledger)()
        device.ledger.made = made

    stage.link.set_rates(FAULTS[options.faults])
    began = time.monotonic()
    with console.status("Reconnecting") as status:
        _reconnect(devices, lambda done, of: status.update(_progress(devices, done, of)))
    seconds = time.monotonic() - began
    faults = {str(fault): count for fault, count in stage.link.counts.items()}
    stage.link.heal()
    drain(devices, lambda _done, _of: None)  # everybody sees what the last one pushed

    console.print("· Proving")
    return figures.collect(devices, faults, seconds), _prove(stage, devices, edits_before)


def _work_offline(
    stage: Stage, devices: list[Device], options: argparse.Namespace, console: Console
) -> None:
    rng = random.Random(options.seed)  # noqa: S311  # repeatable work
    shared = _choose_shared(devices, rng)
    plans = {device.username: _draw_visits(stage, options.rows, rng) for device in devices}
    _step(
        "A day without a network",
        devices,
        lambda device: device.work(plans[device.username], shared),
        console,
    )


def _choose_shared(devices: list[Device], rng: random.Random) -> list[str]:
    """Return work orders that more than one device holds."""
    seen: dict[str, int] = {}
    for device in devices:
        for row in device.client.collection("work_orders").all():
            if row.data["status"] in {"open", "paused"}:
                seen[row.id] = seen.get(row.id, 0) + 1
    shared = sorted(row_id for row_id, holders in seen.items() if holders > 1)
    return rng.sample(shared, min(SHARED_ROWS, len(shared)))


def _draw_visits(stage: Stage, rows: int, rng: random.Random) -> list[int]:
    """Return sizes of real visits that add up to about `rows` jobs."""
    visits: list[int] = []
    while sum(visits) < rows:
        visits.append(min(rng.choice(stage.visits), rows - sum(visits)))
    return visits


def _reconnect(devices: list[Device], watch: Any) -> None:
    drain(devices, watch)
    for _ in range(RESOLVING_ROUNDS):
        for device in devices:
            device.resolve_conflicts()
        drain(devices, watch)


def _prove(stage: Stage, devices: list[Device], edits_before: int) -> list[str]:
    truth = proof.read_truth(stage.tenant_id)
    differences: list[str] = []
    for device, technician in zip(devices, stage.technicians, strict=True):
        rows = {
            RowKey(name, row.id): (row.version, row.data)
            for name in {key.collection for key in truth}
            for row in device.client.collection(name).all()
        }
        replica = proof.Replica(name=device.username, scopes=technician.scopes, rows=rows)
        differences += proof.check_replica(replica, truth)
    differences += proof.check_outboxes((d.username, d.client.status()) for d in devices)
    differences += proof.check_accounts(
        made=sum(device.ledger.made for device in devices),
        outcomes=sum((d.ledger.outcomes for d in devices), start=type(devices[0].ledger.outcomes)()),
        edits_before=edits_before,
        edits_after=proof.count_edits(truth, stage.tenant_id),
    )
    differences += proof.check_feed(truth, stage.tenant_id)
    return differences


def _tell(
    found: dict[str, Any],
    differences: list[str],
    options: argparse.Namespace,
    console: Console,
) -> int:
    shown = proof.first(differences)
    if options.json:
        document = {**found, "seed": options.seed, "ok": not differences, "differences": shown}
        print(json.dumps(document))  # noqa: T201  # the command's own voice
    else:
        figures.show(found, console)
        for line in shown:
            console.print(f"DIFFERENCE {line}", markup=False)
        if not differences:
            console.print("all replicas equal the server")
    return 1 if differences else 0


def _step(text: str, devices: list[Device], step: Any, console: Console) -> None:
    with console.status(text) as status:
        everywhere(devices, step, lambda done, of: status.update(f"{text}: {done} of {of}"))
    console.print(f"· {text}")


def _progress(devices: list[Device], done: int, of: int) -> str:
    sent = sum(device.ledger.outcomes.total() for device in devices)
    made = sum(device.ledger.made for device in devices)
    return f"Reconnecting: {sent:,} of {made:,} rows answered for, {done} of {of} devices through"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
