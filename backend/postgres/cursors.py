"""Cursors that say to PostgreSQL for which tenant a transaction is, before its first statement.

    execute -> for whom?  sync.row_security.bound()
            -> said in this transaction?  yes -> the statement
                                         `- no -> prelude and statement, in one round trip

Outside of a transaction, prelude and statement are one of their own: both go in one pipeline, and
PostgreSQL commits at its end. So nothing is left behind on a connection for whoever uses it next,
be it through a pooler.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from sync.row_security import PRELUDE, Unbound, bound, prelude

if TYPE_CHECKING:
    from collections.abc import Iterator

# What a connection was told, where that is not known: since a savepoint was rolled back.
UNKNOWN: Final = object()
# Of the database, unless it is the role that logged in, or one that this may not take on.
OWNER: Final = """
SELECT owner.rolname FROM pg_database
JOIN pg_roles AS owner ON owner.oid = datdba
WHERE datname = current_database() AND owner.rolname <> session_user
    AND pg_has_role(session_user, owner.oid, 'MEMBER')
"""
_owners: dict[tuple[Any, ...], str | None] = {}  # of each database that this process has met


def start_connection(connection: Any) -> None:
    """Note on a new connection which role sees all tenants' rows, if it is not its own."""
    info = connection.info
    database = (info.host, info.port, info.dbname, info.user)
    if database not in _owners:
        found = psycopg.Cursor(connection).execute(OWNER).fetchone()
        _owners[database] = found[0] if found else None
    connection.owner = _owners[database]
    connection.bound = UNKNOWN


class TenantCursor(psycopg.Cursor[Any]):
    """A cursor whose statements see the rows of the tenant that the caller works for."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        """Execute one statement, or without parameters a script."""
        if _opens_transaction(query):  # nothing may come before it
            connection: Any = self.connection
            connection.bound = UNKNOWN
            return super().execute(query, params, **options)
        due = _due(self.connection)
        if due is None:
            return super().execute(query, params, **options)
        if params is None and bound() is Unbound.EVERYBODY:
            with _as_owner(self.connection, due):
                return super().execute(query, params, **options)
        with self.connection.pipeline():
            psycopg.Cursor(self.connection).execute(PRELUDE, due)
            return super().execute(query, params, **options)

    def executemany(self, query: Any, params_seq: Iterable[Any], **options: Any) -> None:
        """Execute one statement with each of the parameters."""
        due = _due(self.connection)
        if due is None:
            super().executemany(query, params_seq, **options)
            return
        with self.connection.pipeline():
            psycopg.Cursor(self.connection).execute(PRELUDE, due)
            super().executemany(query, params_seq, **options)


class TenantServerCursor(psycopg.ServerCursor[Any]):
    """The same for what is read in chunks; its rows are chosen when it is opened."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        """Open the cursor."""
        due = _due(self.connection)
        if due is None:
            return super().execute(query, params, **options)
        with self.connection.transaction():
            psycopg.Cursor(self.connection).execute(PRELUDE, due)
            return super().execute(query, params, **options)


def _opens_transaction(query: Any) -> bool:
    return isinstance(query, str) and query.startswith("SET TRANSACTION")


def _due(connection: Any) -> tuple[str, str] | None:
    """Return the prelude's parameters; None where nothing has to be said."""
    if not hasattr(connection, "owner"):  # it is being opened
        return None
    status = connection.pgconn.transaction_status
    whom = bound()
    if status == TransactionStatus.INERROR or (
        status == TransactionStatus.INTRANS and connection.bound == whom
    ):
        return None
    is_said = status == TransactionStatus.INTRANS
    connection.bound = whom
    if whom is Unbound.EVERYBODY and connection.owner is None and not is_said:
        return None
    return prelude(whom, connection.owner)


@contextmanager
def _as_owner(connection: Any, due: tuple[str, str]) -> Iterator[None]:
    """Execute a script, or what must not be in a transaction: the role is that of the session."""
    plain = psycopg.Cursor(connection)
    if not connection.autocommit:
        plain.execute(PRELUDE, due)
        yield
        return
    plain.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(due[1])))
    try:
        yield
    finally:
        if not connection.closed:
            plain.execute("RESET ROLE")
