"""A round: some histories at once on one stage, and perhaps a disaster in their middle.

tenants -> devices log in -> everybody works ──────> heal -> drain -> what the database says
                               `── the disaster ──'
"""

from __future__ import annotations

import dataclasses
import random
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Final

from sync.testing.faulty_link import FaultyLink, faulty_link
from tests.faults.campaign import ledger
from tests.faults.campaign.device import Device
from tests.faults.campaign.disasters import DISASTERS
from tests.faults.campaign.history import History
from tests.faults.campaign.script import LINKS, Script, draw_script
from tests.faults.campaign.stage import Stage, close_sessions

RESTORES: Final = "server is restored"
BEGINS_S_MAX: Final = 0.6  # into the round
DRAIN_S_MAX: Final = 75.0  # beyond what the law allows, so that it can be told by how much


@dataclasses.dataclass(slots=True, kw_only=True)
class _Play:
    """One history on its way."""

    history: History
    script: Script
    link: FaultyLink
    devices: list[Device]


def play_round(
    stage: Stage,
    numbers: Sequence[int],
    seed: str,
    disaster: str = "",
    *,
    drain_s: float = DRAIN_S_MAX,
) -> list[History]:
    """Play the histories of these numbers at once, and return them."""
    from tests.faults.campaign.people import found_tenant  # needs Django, which the stage sets up

    rng = random.Random(f"{seed} {numbers[0]} {disaster}")  # repeatable
    scripts = [draw_script(f"{seed} {number}") for number in numbers]
    with stage.calm:
        histories = [
            found_tenant(number, script, disaster)
            for number, script in zip(numbers, scripts, strict=True)
        ]
        close_sessions()
    stage.histories = histories
    with ExitStack() as cleanup:
        plays = [
            _open(stage, history, script, cleanup)
            for history, script in zip(histories, scripts, strict=True)
        ]
        devices = [device for play in plays for device in play.devices]
        _at_once(devices, Device.log_in)
        _at_once(devices, Device.sync)
        if disaster == RESTORES:
            stage.save()
            stage.wait_until_well()
        for play in plays:
            play.link.set_rates(LINKS[play.script.link])
        with _happening(stage, disaster, rng):
            _at_once(devices, Device.work)
        _heal(stage, plays, drain_s)
        for play in plays:
            play.history.replicas = [device.close() for device in play.devices]
        with stage.calm:
            for history in histories:
                ledger.close_history(history, stage.postgres.owner_url)
    stage.links.clear()
    return histories


def _open(stage: Stage, history: History, script: Script, cleanup: ExitStack) -> _Play:
    link = cleanup.enter_context(
        faulty_link(stage.server.url, rng=random.Random(f"link {script.seed}"))
    )
    stage.links.append(link)
    devices = [
        Device(number, history, link.url, stage.phones, script)
        for number in range(len(history.people))
    ]
    return _Play(history=history, script=script, link=link, devices=devices)


@contextmanager
def _happening(stage: Stage, disaster: str, rng: random.Random) -> Iterator[None]:
    """Have the disaster happen during the block; both are over at its end."""
    errors: list[str] = []

    def run() -> None:
        threading.Event().wait(rng.random() * BEGINS_S_MAX)
        try:
            with stage.calm:
                DISASTERS[disaster](stage, rng)
        except Exception:
            errors.append(traceback.format_exc())

    thread = threading.Thread(target=run if disaster else lambda: None)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    if errors:
        message = f"the disaster {disaster!r} went wrong by itself:\n{errors[0]}"
        raise RuntimeError(message)


def _heal(stage: Stage, plays: Sequence[_Play], drain_s: float) -> None:
    stage.wait_until_well()
    for play in plays:
        play.link.heal()
    began = time.monotonic()
    until = began + drain_s

    def drain(device: Device) -> None:
        device.drain(until)
        took_s = time.monotonic() - began
        device.history.drained_s = max(device.history.drained_s, took_s)

    devices = [device for play in plays for device in play.devices]
    _at_once(devices, drain)
    _at_once(devices, Device.sync)  # what the others drained


def _at_once(devices: Sequence[Device], work: Callable[[Device], object]) -> None:
    """Have each device work in a thread; an error that nobody expected is in its history."""

    def run(device: Device) -> None:
        try:
            work(device)
        except Exception:
            device.history.accidents.append(traceback.format_exc())

    threads = [threading.Thread(target=partial(run, device)) for device in devices]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
