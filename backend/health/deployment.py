"""System checks of settings that cost data or work; `manage.py check --deploy` runs them.

What is plainly wrong stops the start already (`backend.settings.variables`): no PostgreSQL, a weak
key, debugging in production. Here is what is wrong together.
"""

from __future__ import annotations

import os
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning as Caution, register
from rest_framework_simplejwt.settings import api_settings

from sync.conf import sync_settings

WORKERS_VARIABLE: Final = "WEB_CONCURRENCY"  # uvicorn's own
KEY_CHARS_MIN: Final = 32


def count_workers() -> int:
    """Return the number of worker processes of this server, as uvicorn takes it."""
    text = os.environ.get(WORKERS_VARIABLE, "")
    return int(text) if text.isdigit() else 1


@register(Tags.compatibility, deploy=True)
def check_workers_share(**_: Any) -> list[CheckMessage]:
    """Several processes count and cache together: they have a Redis."""
    workers = count_workers()
    if workers < 2 or settings.REDIS_URL:  # noqa: PLR2004  # several
        return []
    return [
        Caution(
            f"{workers} worker processes, and no REDIS_URL: each throttles and caches by itself, "
            f"so a client may ask {workers} times as often as it should.",
            hint="Set REDIS_URL to a Redis or Valkey that all processes share.",
            id="fieldsync.W001",
        )
    ]


@register(Tags.compatibility, deploy=True)
def check_kept_for_as_long_as_phones_are_away(**_: Any) -> list[CheckMessage]:
    """What a phone may still ask for is not pruned while its login is good."""
    away_days = api_settings.REFRESH_TOKEN_LIFETIME.days
    ours = sync_settings()
    kept = {"RECEIPT_DAYS": ours.receipt_days, "TOMBSTONE_DAYS": ours.tombstone_days}
    what = {
        "RECEIPT_DAYS": "a push that is repeated later is carried out again",
        "TOMBSTONE_DAYS": "an outbox that comes later may bring deleted rows back to life",
    }
    return [
        Error(
            f"SYNC[{name!r}] is {days}, and phones may be away for {away_days} days "
            f"(REFRESH_TOKEN_DAYS): {what[name]}.",
            hint=f"Keep them for {away_days} days or more, or let logins end sooner.",
            id="fieldsync.E001",
        )
        for name, days in kept.items()
        if days < away_days
    ]


@register(Tags.compatibility, deploy=True)
def check_pokes_pass_the_pooler(**_: Any) -> list[CheckMessage]:
    """Pokes do not travel by NOTIFY where a pooler hands out a session for each transaction."""
    if settings.PREPARE_STATEMENTS or not sync_settings().poke_url.startswith("postgresql:"):
        return []
    return [
        Error(
            "PREPARE_STATEMENTS is off, as behind a pooler, and pokes travel by PostgreSQL's "
            "NOTIFY: nobody would hear them, and phones would wait for the next poll.",
            hint="Set REDIS_URL; or set SYNC['POKE_URL'] to '', and those who wait ask.",
            id="fieldsync.E002",
        )
    ]


@register(Tags.security, deploy=True)
def check_hosts(**_: Any) -> list[CheckMessage]:
    """The server answers to its own names."""
    if "*" not in settings.ALLOWED_HOSTS:
        return []
    return [
        Caution(
            "ALLOWED_HOSTS has '*': links that the server writes may lead wherever a client says.",
            hint="Name the public host names.",
            id="fieldsync.W002",
        )
    ]


@register(Tags.security, deploy=True)
def check_cursor_key(**_: Any) -> list[CheckMessage]:
    """The key that signs cursors cannot be guessed."""
    if len(sync_settings().cursor_key) >= KEY_CHARS_MIN:
        return []
    return [
        Error(
            "SYNC['CURSOR_KEY'] is short: who guesses it reads from any place in its feed.",
            hint=f"Give it {KEY_CHARS_MIN} characters or more, or leave it out: SECRET_KEY then.",
            id="fieldsync.E003",
        )
    ]
