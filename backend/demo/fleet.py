"""All devices at once: each step runs on every device in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from backend.demo.device import Device

TICK_S = 0.2  # between looks at the progress; also how soon a signal is heard

Watch = Callable[[int, int], None]  # (devices done, of how many)


def everywhere(devices: Sequence[Device], step: Callable[[Device], None], watch: Watch) -> None:
    """Run `step` on all devices at once; return when all are done.

    Raises:
        Exception: the first one that a device raised, when all have ended.
    """
    errors: list[Exception] = []

    def run(device: Device) -> None:
        try:
            step(device)
        except Exception as error:  # raised again in the main thread
            errors.append(error)

    threads = [threading.Thread(target=run, args=(d,), daemon=True) for d in devices]
    for thread in threads:
        thread.start()
    while alive := [thread for thread in threads if thread.is_alive()]:
        watch(len(threads) - len(alive), len(threads))
        alive[0].join(TICK_S)
    watch(len(threads), len(threads))
    if errors:
        raise errors[0]


def drain(devices: Sequence[Device], watch: Watch, rounds_max: int = 10) -> None:
    """Sync all devices until nobody has anything to send and all have seen everything.

    Raises:
        RuntimeError: some outbox does not get empty.
    """
    for _ in range(rounds_max):
        everywhere(devices, Device.sync, watch)
        states = [device.client.status() for device in devices]
        if not any(state.pending or state.sent or state.acked_unseen for state in states):
            return
    message = f"some outboxes did not get empty in {rounds_max} rounds"
    raise RuntimeError(message)
