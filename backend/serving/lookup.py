"""A database connection of the event loop's own, for the one question of a repeated answer.

It has no part in requests that Django answers, and none of them waits for it: whenever it is not
there, or slow, they take their usual way.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Final

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections

from backend.grounds import Grounds, Row
from sync.row_security import PRELUDE, prelude

log = logging.getLogger(__name__)

ANSWER_S_MAX: Final = 1.0  # a look-up by key takes a thousandth of it
AGAIN_AFTER_S: Final = 1.0  # a database that is gone is not knocked at by every request

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


class LookupFailed(Exception):
    """The question was not answered; Django is to answer the request."""


class Lookup:
    """Asks over one connection, question after question; opened when the first one comes."""

    def __init__(self) -> None:
        self._connection: Connection | None = None
        self._asking = asyncio.Lock()  # a pipeline is one question's
        self._is_opening = False
        self._not_before = 0.0  # monotonic seconds

    async def ask(self, grounds: Grounds) -> Row | None:
        """Return the row that an answer rests on; None if there is none.

        Raises:
            LookupFailed: there is no connection now, or no answer in time.
        """
        try:
            async with asyncio.timeout(ANSWER_S_MAX):
                connection = self._connection or await self._open()
                async with self._asking, connection.pipeline():
                    await connection.execute(PRELUDE, prelude(grounds.tenant_id, owner=None))
                    cursor = await connection.execute(grounds.sql, grounds.parameters)
                return await cursor.fetchone()
        except (TimeoutError, psycopg.Error) as error:
            log.warning("a look-up failed, its request takes the usual way: %r", error)
            await self.close()
            self._not_before = time.monotonic() + AGAIN_AFTER_S
            raise LookupFailed from error

    async def _open(self) -> Connection:
        if self._is_opening or time.monotonic() < self._not_before:
            raise LookupFailed
        self._is_opening = True
        try:
            # The same database and values as in Django's threads, whose cursors cannot be awaited.
            parameters: dict[str, Any] = connections[DEFAULT_DB_ALIAS].get_connection_params()
            parameters["cursor_factory"] = psycopg.AsyncCursor
            self._connection = await psycopg.AsyncConnection.connect(**parameters, autocommit=True)
            return self._connection
        finally:
            self._is_opening = False

    async def close(self) -> None:
        """Let go of the connection; the next question opens another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
