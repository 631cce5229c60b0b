"""How far devices were told the feed: noted now and then, for people who watch the server.

sync.signals.pull_answered -> one UPDATE of a device in NOTED_EVERY_S and process
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from backend.accounts.models import Device

if TYPE_CHECKING:
    from uuid import UUID

    from sync.types import Actor

NOTED_EVERY_S: Final = 300.0
DEVICES_MAX: Final = 10_000  # that are remembered; one that is forgotten is noted once more

_noted: OrderedDict[UUID, float] = OrderedDict()
_lock = threading.Lock()


def note_read(*, actor: Actor, seq: int, **_: Any) -> None:
    """Note it; a receiver of `pull_answered`."""
    device_id = actor.device_id
    if device_id is None or actor.reads is not None or not _is_due(device_id, time.monotonic()):
        return  # somebody in the office, or a program; or it was noted just now
    Device.objects.filter(pk=device_id).exclude(read_seq=seq).update(read_seq=seq)


def forget() -> None:
    """Forget what was noted, as a process that has just started."""
    with _lock:
        _noted.clear()


def _is_due(device_id: UUID, now: float) -> bool:
    with _lock:
        last = _noted.get(device_id)
        if last is not None and now - last < NOTED_EVERY_S:
            return False
        _noted[device_id] = now
        _noted.move_to_end(device_id)
        if len(_noted) > DEVICES_MAX:
            _noted.popitem(last=False)
        return True
