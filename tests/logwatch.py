"""A handler that reads every log record as it would be written, and remembers what must not be there."""

from __future__ import annotations

import logging
import re
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from tests.phones import canaries

OURS = ("backend", "sync", "django", "uvicorn", "asyncio", "psycopg")
# An access token, an API key, a password of the tests.
SECRETS = re.compile(r"eyJ[\w-]{8,}\.[\w-]+|fsk_\w+\.[\w-]{8,}|a-long-way-to-cardiff")


class LogWatch(logging.Handler):
    """Reads the records of the server's own loggers, in both forms."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        logging_settings: Any = settings.LOGGING
        json: dict[str, Any] = dict(logging_settings["formatters"]["json"])
        form = json.pop("format")
        made = import_string(json.pop("()"))
        self._formatters = [logging.Formatter("%(message)s"), made(form, **json)]

    def emit(self, record: logging.LogRecord) -> None:
        """Search one record."""
        if record.name.partition(".")[0] not in OURS:
            return
        for formatter in self._formatters:
            text = formatter.format(record)
            told = [canary for canary in canaries.values() if canary in text]
            self.found += [f"{record.name}: {what}" for what in [*told, *SECRETS.findall(text)]]
