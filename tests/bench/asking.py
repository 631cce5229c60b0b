"""Both sides in this process, asked as the bench's clients ask them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from asgiref.sync import async_to_sync
from django.db import connection
from psycopg.conninfo import make_conninfo
from rest_framework.test import APIClient

from loadtests.bench import floor
from loadtests.bench.client import Work, converse
from loadtests.bench.exchange import Answer, Request
from loadtests.bench.stage import floor_headers, product_headers
from loadtests.bench.workload import Sender
from tests.owner import owner_options

Ask = Callable[[Request], Answer]


def database_address() -> str:
    given = connection.get_connection_params()
    names = ("host", "port", "user", "password", "dbname")
    parts = {name: given[name] for name in names}
    parts["port"] = os.environ.get(
        "POSTGRES_PORT", parts["port"]
    )  # the floor has its own sessions
    return make_conninfo(**parts, options=owner_options())


def answer(status: int, body: bytes, **headers: str) -> Answer:
    """Return an answer as if it had been received in one piece."""
    spans = [(0, len(body))] if body else []
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status=status, headers=named, received=bytearray(body), spans=spans)


def ask_product(sender: Sender) -> Ask:
    def ask(request: Request) -> Answer:
        client: Any = APIClient()
        headers = {**request.headers, **product_headers(sender)}
        kind = headers.pop("Content-Type", "application/json")
        found = client.generic(
            request.method, request.target, request.body, content_type=kind, headers=headers
        )
        body = b"".join(async_to_sync(collect)(found)) if found.streaming else found.content
        given = {name.lower(): value for name, value in found.headers.items()}
        return answer(found.status_code, body, **given)

    return ask


async def collect(stream: Any) -> list[bytes]:
    return [chunk async for chunk in stream.__aiter__()]


@contextmanager
def running_floor(monkeypatch: Any) -> Iterator[Callable[[Sender], Ask]]:
    """Run the floor's application with its pool; yields what makes a way to ask it."""
    monkeypatch.setenv("DATABASE_URL", database_address())
    with asyncio.Runner() as runner:
        life = Life()
        runner.run(life.start())

        def of_sender(sender: Sender) -> Ask:
            return lambda request: runner.run(ask_floor(request, floor_headers(sender)))

        try:
            yield of_sender
        finally:
            runner.run(life.end())


class Life:
    """The life of the application, as a server has it."""

    async def start(self) -> None:
        self.said: asyncio.Queue[Any] = asyncio.Queue()
        self.told: asyncio.Queue[Any] = asyncio.Queue()
        scope = {"type": "lifespan"}
        self.task = asyncio.create_task(floor.application(scope, self.told.get, self.said.put))
        await self.told.put({"type": "lifespan.startup"})
        assert (await self.said.get())["type"] == "lifespan.startup.complete"

    async def end(self) -> None:
        await self.told.put({"type": "lifespan.shutdown"})
        await self.task


async def ask_floor(request: Request, more_headers: Mapping[str, str]) -> Answer:
    path, _, query = request.target.partition("?")
    headers = {**request.headers, **more_headers}
    scope = {
        "type": "http",
        "method": request.method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(n.lower().encode(), value.encode()) for n, value in headers.items()],
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": request.body}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await floor.application(scope, receive, send)
    head, *parts = sent
    given = {name.decode(): value.decode() for name, value in head["headers"]}
    return answer(head["status"], b"".join(part["body"] for part in parts), **given)


def check(work: Work, ask: Ask) -> None:
    """Do the work, and expect that nothing is wrong with it."""
    assert work.find_failure(converse(ask, work)) is None
