"""The server's front without its sockets: what it answers, and how often Django is asked."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

from backend.serving.answers import Answer, Handler
from backend.serving.bodies import BodyReader
from backend.serving.bridge import Bridge
from backend.serving.lookup import Lookup
from backend.serving.repeats import Repeats
from backend.serving.workers import WorkerPool
from tests.phones import PULL, Phone

MIB = 1024 * 1024
HOUR_S = 3_600.0  # longer than any test


class CountingHandler(Handler):
    """Django, and how often it was asked."""

    asked = 0

    def carry_out(self, *args: Any, **options: Any) -> Answer | None:
        self.asked += 1
        return super().carry_out(*args, **options)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Front:
    """The server's front, without its sockets."""

    runner: asyncio.Runner
    bridge: Bridge
    handler: CountingHandler

    path: str = PULL  # what is asked for

    def ask(self, phone: Phone, etag: str = "", query: str = "", **headers: str) -> Answer:
        """Return the answer to a pull from the phone's cursor."""
        return self.runner.run(self.asking(phone, etag, query, **headers))

    async def asking(
        self, phone: Phone, etag: str = "", query: str = "", method: str = "GET", **headers: str
    ) -> Answer:
        """Ask, on the event loop."""
        given = {"host": "testserver", "authorization": f"Bearer {phone.token}"}
        given |= {"if-none-match": etag} if etag else {}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        scope = {
            "type": "http", "method": method, "scheme": "http", "path": self.path,
            "query_string": f"cursor={phone.cursor}{query}".encode(),
            "headers": [(name.encode(), value.encode()) for name, value in given.items()],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
        }  # fmt: skip
        sent: list[dict[str, Any]] = []
        unread = [{"type": "http.request", "body": b""}]

        async def receive() -> dict[str, Any]:
            while not unread:  # the client waits for its answer
                await asyncio.sleep(HOUR_S)
            return unread.pop()

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self.bridge(scope, receive, send)
        body = b"".join(part["body"] for part in sent[1:])
        return Answer(status=sent[0]["status"], headers=sent[0]["headers"], body=body)

    def repeat(self, phone: Phone, etag: str) -> Answer:
        """Ask what was asked before; Django must not hear of it."""
        asked = self.handler.asked
        answer = self.ask(phone, etag)
        assert self.handler.asked == asked, "Django was asked"
        return answer


def make_front(runner: asyncio.Runner) -> Front:
    handler = CountingHandler()
    bridge = Bridge(
        handler,
        WorkerPool(threads_max=2),
        BodyReader(bytes_max=MIB, compressed_bytes_max=MIB),
        Repeats(Lookup()),
        queue_max=2,
    )
    return Front(runner=runner, bridge=bridge, handler=handler)
