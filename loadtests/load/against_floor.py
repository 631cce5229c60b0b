"""The storm against the floor: how much of the bare server's speed is left, in the same run.

    senders of profiles/storm.toml ── push, pull all ──> floor | product, in turn, 3 rounds

Locust would be the slowest part here: devices are plain sockets that look at nothing but the
cursor (see `loadtests.bench`). Each round has tenants of its own.
"""

from __future__ import annotations

import dataclasses
import platform
import random
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, Final

import psutil  # type: ignore[import-untyped]  # no stubs in the lock

from loadtests.bench.errors import BenchFailed
from loadtests.bench.exchange import Answer, Link, Request
from loadtests.bench.processes import cpu_s
from loadtests.bench.pulls import PULL_PATH
from loadtests.bench.stage import Side, set_stage, settle
from loadtests.bench.workload import Sender, creates, new_ids
from loadtests.load.profile import read_profile
from loadtests.load.watch import Watch

STORM: Final = read_profile("storm")
PAGE: Final = 1_000
ROUNDS: Final = 3
OK: Final = 200


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """One storm: seconds, CPU seconds of the server, its memory at the most, rows pulled."""

    seconds: float
    cpu_s: float
    memory_mib: float
    largest_mib: float
    pulled_bytes: int


def measure(rounds: int = ROUNDS) -> dict[str, Any]:
    """Let the storm come over both, in turn; return medians and their ratios.

    Raises:
        BenchFailed: a server refused, or hung up.
        DevstackError: something is missing or did not start.
    """
    storms: dict[str, list[Storm]] = {"floor": [], "product": []}
    with set_stage(workers=STORM.workers) as stage:
        from loadtests.bench.senders import make_senders

        for number in range(rounds):
            for side in (stage.floor, stage.product):
                senders = make_senders(f"storm-{side.name}-{number}", devices=STORM.devices)
                settle(stage.stack)
                try:
                    storms[side.name].append(_let_come(side, senders, seed=number))
                except (OSError, BenchFailed) as error:
                    message = f"{side.name}: {error}\n{side.server.child.log_tail()}"
                    raise BenchFailed(message) from error
    floor, product = (_median(storms[name]) for name in ("floor", "product"))
    return {
        "machine": {"cpus": psutil.cpu_count(), "python": platform.python_version()},
        "rounds": rounds,
        "speed": round(floor.seconds / product.seconds, 2),
        "cpu": round(product.cpu_s / floor.cpu_s, 2),
        "memory_mib": round(product.memory_mib),
        "largest_process_mib": round(product.largest_mib),
        "floor_memory_mib": round(floor.memory_mib),
    }


def _median(storms: Sequence[Storm]) -> Storm:
    fields = {field.name for field in dataclasses.fields(Storm)}
    found: dict[str, Any] = {
        name: statistics.median(getattr(storm, name) for storm in storms) for name in fields
    }
    return Storm(**found)


def _let_come(side: Side, senders: Sequence[Sender], seed: int) -> Storm:
    before_s = cpu_s(side.server.child.pid)
    began = time.monotonic()
    with Watch(side.server.child.pid) as watch, ThreadPoolExecutor(STORM.at_once_max) as pool:
        syncs = [
            pool.submit(_sync, side, sender, seed * STORM.devices + number)
            for number, sender in enumerate(senders)
        ]
        pulled_bytes = sum(sync.result() for sync in syncs)
        seconds = time.monotonic() - began
    return Storm(
        seconds=seconds,
        cpu_s=cpu_s(side.server.child.pid) - before_s,
        memory_mib=max(each.server_mib for each in watch.samples),
        largest_mib=max(each.largest_mib for each in watch.samples),
        pulled_bytes=pulled_bytes,
    )


def _sync(side: Side, sender: Sender, seed: int) -> int:
    """Push, then pull to the head, on one connection; return the bytes that came."""
    headers = side.make_headers(sender)
    rng = random.Random(seed)  # repeatable
    (batch,) = creates(sender, rng, ids=new_ids(STORM.push_rows), batch_rows=STORM.push_rows)
    with closing(Link(side.server.port)) as link:
        (push,) = batch.exchange()
        if failure := batch.find_failure([_ask(link, push.render(headers))]):
            raise BenchFailed(failure)
        received, target = 0, f"{PULL_PATH}?limit={PAGE}"
        while True:  # ends: at the head
            answer = _ask(link, Request(method="GET", target=target).render(headers))
            received += len(answer.received)
            place = answer.read_place()
            if place is None or not place[1]:
                return received
            target = f"{PULL_PATH}?limit={PAGE}&cursor={place[0]}"


def _ask(link: Link, request: bytes) -> Answer:
    answer = link.exchange(request)
    if answer.status != OK:
        message = f"{answer.status}: {answer.body[:300]!r}"
        raise BenchFailed(message)
    return answer
