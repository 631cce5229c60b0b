"""The story: first sync, a day offline, a reassignment, reconnect over a bad link, the proof.

Import it once Django is set up: the proof reads the tables.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from backend.demo import figures, office, proof
from backend.demo.device import Device, Ledger
from backend.demo.fleet import drain, everywhere
from backend.demo.stage import FAULTS, Stage
from backend.demo.voice import Voice
from backend.demo.watched import read_watched
from sync.clock import utc_now
from sync.types import RowKey

if TYPE_CHECKING:
    from uuid import UUID

SHARED_ROWS = 40  # work orders that several devices edit
RESOLVING_ROUNDS = 2  # times that people look at their conflicts


def play(
    stage: Stage, devices: list[Device], options: argparse.Namespace, voice: Voice
) -> tuple[dict[str, Any], list[str]]:
    """Let the story happen; return its figures and the differences that the proof found."""
    planned = office.prepare(stage.tenant_id, *_reassigned_and_heir(stage))
    voice.say(f"First sync of {len(devices)} devices")
    everywhere(devices, Device.begin, lambda done, of: voice.watch(f"First sync: {done} of {of}"))
    voice.say("A day without a network")
    _work_offline(stage, devices, options)
    voice.say(f"Meanwhile: {planned}")
    scopes = {t.username: t.scopes for t in stage.technicians}
    scopes[devices[0].username] = office.carry_out(planned)
    edits_before = proof.count_edits(proof.read_truth(stage.tenant_id), stage.tenant_id)

    voice.say(f"All reconnect at once; faults of the link: {options.faults}")
    stage.link.set_rates(FAULTS[options.faults])
    began = time.monotonic()
    _reconnect(devices, lambda done, of: voice.watch(_progress(devices, done, of)))
    seconds = time.monotonic() - began
    faults = {str(fault): count for fault, count in stage.link.counts.items()}
    stage.link.heal()
    drain(devices, lambda _done, _of: None)  # everybody sees what the last one pushed

    voice.say("Comparing every replica, ledger and version with the tables")
    watched = read_watched(stage.server_url, stage.metrics_token)
    found = figures.collect(devices, watched, faults, seconds)
    differences = _prove(stage.tenant_id, devices, scopes, edits_before)
    differences += proof.check_watched(
        watched.rows, sum((device.ledger.outcomes for device in devices), Counter())
    )
    return found, differences


def _reassigned_and_heir(stage: Stage) -> tuple[str, str | None]:
    """Return the names of the first technician and of the next, if there is one."""
    first, *others = (technician.username for technician in stage.technicians)
    return first, others[0] if others else None


def _work_offline(stage: Stage, devices: list[Device], options: argparse.Namespace) -> None:
    rng = random.Random(options.seed)  # noqa: S311  # repeatable work
    shared = _choose_shared(devices, rng)
    for device in devices:
        device.ledger = Ledger()  # the figures are those of coming back
        device.work(_draw_visits(stage, options.rows, rng), shared)


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


def _prove(
    tenant_id: UUID,
    devices: list[Device],
    scopes: Mapping[str, frozenset[str]],
    edits_before: int,
) -> list[str]:
    truth = proof.read_truth(tenant_id)
    differences: list[str] = []
    for device in devices:
        rows = {
            RowKey(name, row.id): (row.version, row.data)
            for name in {key.collection for key in truth}
            for row in device.client.collection(name).all()
        }
        replica = proof.Replica(name=device.username, scopes=scopes[device.username], rows=rows)
        differences += proof.check_replica(replica, truth)
        differences += proof.check_digest(replica, truth, tenant_id, utc_now())
    differences += proof.check_outboxes((d.username, d.client.status()) for d in devices)
    differences += proof.check_refusals(
        (d.username, d.ledger.outcomes, d.ledger.resolved, d.client.issues()) for d in devices
    )
    differences += proof.check_accounts(
        made=sum(device.ledger.made for device in devices),
        outcomes=sum((device.ledger.outcomes for device in devices), Counter()),
        edits_before=edits_before,
        edits_after=proof.count_edits(truth, tenant_id),
    )
    differences += proof.check_feed(truth, tenant_id)
    return differences


def _progress(devices: list[Device], done: int, of: int) -> str:
    sent = sum(device.ledger.outcomes.total() for device in devices)
    made = sum(device.ledger.made for device in devices)
    return f"Reconnecting: {sent:,} of {made:,} rows answered for, {done} of {of} devices through"
