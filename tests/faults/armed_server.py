"""The server of these tests: ours, with every failpoint asking the test that started it.

`uvicorn tests.faults.armed_server:application` with FAILPOINT_CONTROL=host:port. Its answers say
in `X-Process-Id` which worker has given them.
"""

from __future__ import annotations

import os
from typing import Any

from backend.asgi import application as served

# isort: split
from tests.faults.arming import arm_failpoints


async def application(scope: Any, receive: Any, send: Any) -> None:
    async def send_signed(message: Any) -> None:
        if message["type"] == "http.response.start":
            signature = (b"x-process-id", str(os.getpid()).encode())
            message = {**message, "headers": [*message["headers"], signature]}
        await send(message)

    await served(scope, receive, send_signed)


arm_failpoints()
