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
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections
from psycopg import sql

from backend.grounds import Grounds, Row
from backend.postgres.cursors import OWNER
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
        self._sees_all = False  # unless a pooler may give the session to others between questions
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
                if self._sees_all:
                    cursor = await connection.execute(grounds.sql, grounds.parameters)
                    return await cursor.fetchone()
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
            opened = await psycopg.AsyncConnection.connect(**parameters, autocommit=True)
            if settings.PREPARE_STATEMENTS:
                await self._take_on_owner(opened)
                self._sees_all = True
            self._connection = opened
            return opened
        finally:
            self._is_opening = False

    async def _take_on_owner(self, opened: Connection) -> None:
        """Let a connection of our own see all tenants' rows, for good.

        It asks one question only, a constant that names its tenant, for tenant after tenant: to
        say each time for whom would cost a fifth of a poll.
        """
        found = await (await opened.execute(OWNER)).fetchone()
        if found is not None:  # otherwise it is its own owner
            await opened.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(found[0])))

    async def close(self) -> None:
        """Let go of the connection; the next question opens another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
