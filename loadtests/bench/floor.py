"""The floor: the same durable work as a push or a pull, with nothing around it.

    body -> decode -> one transaction, two round trips -> answer
                      [ claim, numbers, locks ]  [ rows, changes, entries, answer, COMMIT ]

It is what a push costs at least on a machine: over HTTP, in Python, in these tables. Whoever asks
is believed: the ids come from headers, the territory as well, and nothing is validated, looked up
or refused but an edit of another version. The product is measured against it, so it must be fast;
whatever makes it faster without leaving work out belongs here. Pulls are in `floor_pulls`.

    uvicorn loadtests.bench.floor:application
"""

from __future__ import annotations

import dataclasses
import datetime
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import psycopg
from psycopg.types.json import Json
from psycopg_pool import AsyncConnectionPool

from loadtests.bench import floor_pulls as pulls, floor_rows as rows, floor_sql as sql
from loadtests.bench.pulls import DIGEST_PATH, NDJSON, PULL_PATH
from loadtests.bench.workload import PATH
from sync.clock import utc_now
from sync.wire import fingerprint

CONNECTIONS: Final = 8  # a process; the product has as many threads

OK, NOT_MODIFIED, UNAUTHORIZED, NOT_FOUND = 200, 304, 401, 404

Connection = psycopg.AsyncConnection[tuple[Any, ...]]
Cursor = psycopg.AsyncCursor[tuple[Any, ...]]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Who pushes what; all of it is taken on trust."""

    tenant: str
    device: str
    territory: str  # of every row that is created
    key: str  # Idempotency-Key
    body: bytes


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What was sent and not answered yet; None is what this push does not need."""

    claim: Cursor
    numbers: Cursor | None
    locked: Cursor | None
    stored: Cursor | None


async def application(scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
    """Serve one connection, as ASGI has it."""
    if scope["type"] == "lifespan":
        await _live(receive, send)
    elif (scope["method"], scope["path"]) == ("POST", PATH):
        headers = dict(scope["headers"])
        request = Request(
            tenant=headers[b"x-tenant"].decode(),
            device=headers[b"x-device"].decode(),
            territory=headers[b"x-territory"].decode(),
            key=headers[b"idempotency-key"].decode(),
            body=await _read_body(receive),
        )
        async with _pool.connection() as connection:
            answer = await carry_out(connection, request, utc_now())
        await _respond(send, OK, answer)
    elif scope["path"] in {PULL_PATH, DIGEST_PATH}:
        await _serve_pull(scope, send)
    else:
        await _respond(send, NOT_FOUND, b"{}")


async def _serve_pull(scope: Mapping[str, Any], send: Send) -> None:
    headers = dict(scope["headers"])
    asked = pulls.parse(headers, scope["query_string"])
    async with _pool.connection() as connection:
        sight = await pulls.look(connection, asked)
        if sight is None:
            await _respond(send, UNAUTHORIZED, b"{}")
        elif scope["path"] == DIGEST_PATH:
            await _respond(send, OK, await pulls.read_digest(connection, asked, sight))
        elif headers.get(b"accept") == NDJSON.encode():
            await _send_stream(connection, asked, sight, send)
        else:
            page = await pulls.read_page(connection, asked, sight)
            status = OK if page is not None else NOT_MODIFIED
            await _respond(send, status, page, (b"etag", sight.etag.encode()))


async def _send_stream(
    connection: Connection, asked: pulls.Asked, sight: pulls.Sight, send: Send
) -> None:
    headers = [(b"content-type", NDJSON.encode())]
    if asked.encoding:
        headers.append((b"content-encoding", asked.encoding.encode()))

    async def send_body(body: bytes, more: bool) -> None:  # noqa: FBT001
        await send({"type": "http.response.body", "body": body, "more_body": more})

    await send({"type": "http.response.start", "status": OK, "headers": headers})
    await pulls.stream(connection, asked, sight, send_body)


async def carry_out(connection: Connection, request: Request, now: datetime.datetime) -> bytes:
    """Return the answer to a push, carried out now or at an earlier time.

    `connection` is in autocommit mode: BEGIN and COMMIT travel with the other statements.
    """
    mutations = rows.parse.decode(request.body).mutations
    given: dict[str, Any] = {
        "tenant": request.tenant,
        "device": request.device,
        "key": request.key,
        "fingerprint": fingerprint(f"POST {PATH}", request.body),
        "now": now,
    }
    async with connection.pipeline(), connection.transaction():
        asked = await _ask(connection, mutations, given)
        claimed = await asked.claim.fetchone()  # the first trip
        if claimed is None:
            return await _answer_kept(connection, given)
        written, lines = rows.decide(
            mutations,
            stored=await _read_stored(asked),
            number=await _read_number(asked),
            territory=f"territory:{request.territory}",
        )
        answer = rows.report(written, lines, now)
        given |= {"claim": claimed[0], "answer": answer, "count": len(written)}
        given["rows"] = Json(written, dumps=rows.encode)
        edits = (mutation.data for mutation in mutations if isinstance(mutation, rows.Update))
        edited = frozenset[str]().union(*edits)
        await connection.execute(
            sql.write(has_creates=asked.numbers is not None, edited=edited), given
        )
    return answer


async def _ask(
    connection: Connection, mutations: Sequence[rows.Create | rows.Update], given: Message
) -> _Asked:
    ids = [mutation.id for mutation in mutations if isinstance(mutation, rows.Update)]
    creates = len(mutations) - len(ids)
    given = {**given, "creates": creates, "ids": f"{{{','.join(ids)}}}"}
    return _Asked(
        claim=await connection.execute(sql.CLAIM, given),
        locked=await connection.execute(sql.LOCK, given) if ids else None,
        stored=await connection.execute(sql.STORED, given) if ids else None,
        numbers=await connection.execute(sql.NUMBERS, given) if creates else None,
    )


async def _read_stored(asked: _Asked) -> dict[str, rows.Stored]:
    if asked.locked is None or asked.stored is None:
        return {}
    logged = {row_id: rest for row_id, *rest in await asked.stored.fetchall()}
    return {
        row_id: rows.Stored(version, field_versions, *logged[row_id])
        for row_id, version, field_versions in await asked.locked.fetchall()
    }


async def _read_number(asked: _Asked) -> int:
    found = await asked.numbers.fetchone() if asked.numbers else None
    return found[0] if found else 0


async def _answer_kept(connection: Connection, given: Message) -> bytes:
    found = await (await connection.execute(sql.KEPT, given)).fetchone()
    if found is None:
        message = "the key belongs to another request"
        raise ValueError(message)
    return bytes(found[0])


async def _live(receive: Receive, send: Send) -> None:
    """Open the pool, and close it when the server ends."""
    global _pool  # noqa: PLW0603  # one a process; it belongs to the event loop
    await receive()
    _pool = AsyncConnectionPool(
        os.environ["DATABASE_URL"],
        min_size=CONNECTIONS,
        max_size=CONNECTIONS,
        kwargs={"autocommit": True, "prepare_threshold": 0},
        open=False,
    )
    async with _pool:
        await _pool.wait()
        await send({"type": "lifespan.startup.complete"})
        await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def _read_body(receive: Receive) -> bytes:
    chunks = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(chunks)


async def _respond(
    send: Send, status: int, body: bytes | None, *more_headers: tuple[bytes, bytes]
) -> None:
    headers = [*more_headers]
    if body is not None:
        headers.append((b"content-type", b"application/json"))
        headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body or b""})


_pool: AsyncConnectionPool[Connection]
