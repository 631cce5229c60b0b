"""The server of these tests: ours, with every failpoint asking the test that started it.

`uvicorn tests.faults.armed_server:application` with FAILPOINT_CONTROL=host:port. Its answers say
in `X-Process-Id` which worker has given them.
"""

from __future__ import annotations

import os
from typing import Any

from backend.asgi import application as served

# isort: split
from django.db import connection

from sync.testing.remote_failpoints import ask_at_every_point


async def application(scope: Any, receive: Any, send: Any) -> None:
    async def send_signed(message: Any) -> None:
        if message["type"] == "http.response.start":
            signature = (b"x-process-id", str(os.getpid()).encode())
            message = {**message, "headers": [*message["headers"], signature]}
        await send(message)

    await served(scope, receive, send_signed)


def database_process() -> int:
    """Return the process id of this thread's database session."""
    driver = connection.connection
    return driver.info.backend_pid if driver and not driver.closed else 0


ask_at_every_point(os.environ["FAILPOINT_CONTROL"], database_process=database_process)
