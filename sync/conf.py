"""The app's settings: the `SYNC` dict of the project, over these defaults.

Every number has its unit in its name; `docs/settings.md` lists them with reasons.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SyncSettings:
    """All settings of the app, resolved."""

    actor_resolver: str = ""  # dotted path: (rest_framework Request) -> types.Actor
    device_resolver: str = ""  # dotted path: (UUID of a device) -> types.KnownDevice | None
    versions: str = ""  # dotted path: version -> its steps (see api.versions); none: one shape
    push_rows_max: int = 1_000  # rows a push; a push is one transaction and one report
    body_bytes_max: int = 8 * 1024 * 1024  # decoded body
    compressed_body_bytes_max: int = 4 * 1024 * 1024  # as it comes over the link
    pull_page_rows_max: int = 1_000  # changes a page
    pull_page_rows_default: int = 500
    quarantine_page_rows_max: int = 100  # parked mutations a page; a page is also bounded in bytes
    json_depth_max: int = 16  # levels of nesting in a row's data; parsers recurse
    key_chars_max: int = 255  # Idempotency-Key
    lock_wait_ms: int = 2_000  # a twin for its key, a push for a row that another one holds
    transaction_tries_max: int = 4  # the first and three more after deadlock or lock time-out
    receipt_days: int = 90  # stored answers, for phones that come back after a season offline
    poke_url: str = "postgresql:"  # or redis://…; empty: those who wait find out by asking
    poke_channel: str = "fieldsync_pokes"  # one for all who share the database
    poke_poll_s: float = 15  # a poke that was lost costs this long
    poke_gap_s: float = 1  # between two pokes of a stream: each is a pull of a device
    stream_ping_s: float = 20  # proxies end what is silent for 30 to 60 s
    stream_recheck_s: float = 60  # between looks at who a stream's device is by now
    stream_s_max: float = 900  # then the device connects anew, with all that this checks
    streams_per_device_max: int = 3  # in one process; lines that died unnoticed count too
    waiting_max: int = 2_000  # open streams and held pulls of one process
    wait_s_max: int = 60  # a pull with `wait=`
    tombstone_days: int = 90  # deletions and scope exits; who was away for longer pulls afresh
    quarantine_days: int = 365  # settled parked mutations, for questions about last season's work
    replica_alias: str = ""  # the name in DATABASES of a read replica for pulls; none when empty
    # Tables with a tenant that a cluster keeps whole on every node, each with the reason.
    reference_tables: Mapping[str, str] = dataclasses.field(default_factory=dict)
    cursor_key: str = ""  # secret for signing cursors; SECRET_KEY when empty


def _load() -> SyncSettings:
    given: dict[str, Any] = {k.lower(): v for k, v in getattr(settings, "SYNC", {}).items()}
    return SyncSettings(**{"cursor_key": settings.SECRET_KEY, **given})


_cached: list[SyncSettings] = []


def sync_settings() -> SyncSettings:
    """Return the settings, read once.

    Raises:
        TypeError: `SYNC` has a name that does not exist.
    """
    if not _cached:
        _cached.append(_load())
    return _cached[0]


def _forget(*, setting: str, **_: object) -> None:
    if setting in {"SYNC", "SECRET_KEY"}:
        _cached.clear()


setting_changed.connect(_forget)  # django.test.override_settings
